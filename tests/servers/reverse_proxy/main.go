// Command reverse_proxy is a tsnet node that forwards everything to one URL on the tailnet: what
// one would write in Go instead of using Iris, without identity, grants, metering or records.
package main

import (
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"

	"tailscale.com/tsnet"
)

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: reverse_proxy HOSTNAME CONTROL_URL DIR TARGET, with TS_AUTHKEY")
	}
	target, err := url.Parse(os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	server := &tsnet.Server{Hostname: os.Args[1], ControlURL: os.Args[2], Dir: os.Args[3]}
	defer server.Close()
	listener, err := server.Listen("tcp", ":80")
	if err != nil {
		log.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = &http.Transport{DialContext: server.Dial, MaxIdleConnsPerHost: 64}
	proxy.FlushInterval = -1
	log.Fatal(http.Serve(listener, proxy))
}
