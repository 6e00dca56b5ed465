" Highlighting for xd, a language for model diffing with crosscoders.
if exists('b:current_syntax') | finish | endif

syntax match   xdField      /\<\h\w*\%(\.\h\w*\)*\ze\s*\%(=\%(=\)\@!\|{\)/
syntax match   xdKind       /^\s*\h\w*\ze\s\+\h\w*\s*\%(=\%(=\)\@!\|{\|for\>\)/ nextgroup=xdName skipwhite
syntax match   xdName       /\h\w*/ contained
syntax match   xdCall       /\<\h\w*\ze(/
syntax keyword xdStructure  use as for in of
syntax match   xdStructure  /^xd\ze\s\+\d/
syntax keyword xdConstant   true false none all
syntax keyword xdUnit       tokens token steps step epochs epoch prompts prompt
syntax match   xdNumber     /\%(\w\|\.\)\@<!-\?\d[0-9_]*\%(\.\d[0-9_]*\)\?\%([eE][+-]\?\d\+\)\?[KMBTx%]\?/
syntax match   xdOperator   /<=\|>=\|==\|!=\|<\|>\|\.\.=\?/
syntax region  xdString     start=/"/ skip=/\\./ end=/"/ oneline contains=xdEscape,xdInsert
syntax match   xdEscape     /\\.\|{{\|}}/ contained
syntax match   xdInsert     /{\h[0-9A-Za-z_.]*}/ contained
syntax match   xdComment    /#.*$/ contains=@Spell
syntax match   xdDoc        /##.*$/ contains=@Spell

highlight default link xdField     Identifier
highlight default link xdKind      Type
highlight default link xdName      Function
highlight default link xdCall      Function
highlight default link xdStructure Statement
highlight default link xdConstant  Constant
highlight default link xdUnit      Special
highlight default link xdNumber    Number
highlight default link xdOperator  Operator
highlight default link xdString    String
highlight default link xdEscape    SpecialChar
highlight default link xdInsert    PreProc
highlight default link xdComment   Comment
highlight default link xdDoc       SpecialComment

let b:current_syntax = 'xd'
