" Two spaces, # comments, and :make shows the mistakes of the file.
if exists('b:did_ftplugin') | finish | endif
let b:did_ftplugin = 1

setlocal expandtab shiftwidth=2 softtabstop=2 textwidth=0
setlocal comments=:##,:# commentstring=#\ %s
setlocal makeprg=xd\ check\ --format\ short\ %:S
setlocal errorformat=%f:%l:%c:\ %trror[%m,%f:%l:%c:\ %tarning[%m,%f:%l:%c:\ lint[%m

let b:undo_ftplugin = 'setlocal expandtab< shiftwidth< softtabstop< textwidth< comments< commentstring< makeprg< errorformat<'
