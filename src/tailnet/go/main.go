package main

import "C"
import _ "tailscale.com/tsnet"
func main() {}
