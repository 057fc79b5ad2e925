package control

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"time"

	"tailscale.com/derp/derpserver"
	"tailscale.com/net/stun"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

const (
	loopback    = "127.0.0.1"
	relayRegion = 1
)

// relay carries the first packets between two nodes, until they have found
// each other on loopback; without one a node is never ready. Its STUN server
// is what tells them their loopback addresses.
type relay struct {
	derpMap *tailcfg.DERPMap
	server  *derpserver.Server
	http    *http.Server
	stun    *net.UDPConn
}

func startRelay() (*relay, error) {
	certificate, err := selfSigned()
	if err != nil {
		return nil, err
	}
	listener, err := tls.Listen("tcp", loopback+":0", &tls.Config{
		Certificates: []tls.Certificate{certificate},
	})
	if err != nil {
		return nil, err
	}
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(loopback)})
	if err != nil {
		listener.Close()
		return nil, err
	}
	server := derpserver.New(key.NewNode(), func(string, ...any) {})
	r := &relay{
		derpMap: derpMap(listener.Addr(), socket.LocalAddr()),
		server:  server,
		http: &http.Server{
			Handler:  derpserver.Handler(server),
			ErrorLog: quiet,
			// DERP takes over a connection of HTTP/1.
			TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		},
		stun: socket,
	}
	go r.http.Serve(listener)
	go answerSTUN(socket)
	return r, nil
}

func (r *relay) close() {
	r.http.Close()
	r.server.Close()
	r.stun.Close()
}

func derpMap(relay, stun net.Addr) *tailcfg.DERPMap {
	node := &tailcfg.DERPNode{
		Name:       "1",
		RegionID:   relayRegion,
		HostName:   loopback,
		IPv4:       loopback,
		IPv6:       "none",
		DERPPort:   relay.(*net.TCPAddr).Port,
		STUNPort:   stun.(*net.UDPAddr).Port,
		STUNTestIP: loopback,
		// Its certificate is made for this run. What passes it is encrypted
		// between nodes.
		InsecureForTests: true,
	}
	return &tailcfg.DERPMap{
		OmitDefaultRegions: true,
		Regions: map[int]*tailcfg.DERPRegion{
			relayRegion: {
				RegionID:   relayRegion,
				RegionCode: "demo",
				RegionName: "this machine",
				Nodes:      []*tailcfg.DERPNode{node},
			},
		},
	}
}

// answerSTUN tells each asker the address that it was seen with.
func answerSTUN(socket *net.UDPConn) {
	buffer := make([]byte, 1500)
	for {
		n, from, err := socket.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		id, err := stun.ParseBindingRequest(buffer[:n])
		if err != nil {
			continue
		}
		seen := netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		socket.WriteToUDPAddrPort(stun.Response(id, seen), from)
	}
}

// selfSigned makes a certificate for the time of one run.
func selfSigned() (tls.Certificate, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
		IPAddresses:  []net.IP{net.ParseIP(loopback)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, nil
}
