autocmd BufRead,BufNewFile *.xd setfiletype xd
