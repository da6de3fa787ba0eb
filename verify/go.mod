module github.com/quorate/quorate/verify

go 1.26.0

require github.com/cloudflare/circl v1.6.5

require golang.org/x/sys v0.49.0 // indirect
