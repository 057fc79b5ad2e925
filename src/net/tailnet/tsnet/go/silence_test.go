package main

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/loopback"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// pipe returns a connection of netstack, to a listener that accepts nothing.
func pipe(t *testing.T) *gonet.TCPConn {
	t.Helper()
	conn, _ := dialed(t)
	return conn
}

// dialed returns a connection of netstack, and the listener that it waits at.
func dialed(t *testing.T) (*gonet.TCPConn, *gonet.TCPListener) {
	t.Helper()
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	t.Cleanup(s.Destroy)
	if err := s.CreateNIC(1, loopback.New()); err != nil {
		t.Fatal(err)
	}
	own := tcpip.AddrFrom4([4]byte{100, 64, 0, 1})
	address := tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: own.WithPrefix(),
	}
	if err := s.AddProtocolAddress(1, address, stack.AddressProperties{}); err != nil {
		t.Fatal(err)
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: 1}})
	to := tcpip.FullAddress{NIC: 1, Addr: own, Port: 80}
	listener, err := gonet.ListenTCP(s, to, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	conn, err := gonet.DialContextTCP(context.Background(), s, to, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, listener
}

// netstack's adapter hides the endpoint: a new version of it could move it.
func TestConnectionsOfTheNodeAreKeptAlive(t *testing.T) {
	conn := pipe(t)
	if !keepAlive(conn, 20*time.Second) {
		t.Fatal("the options were not set")
	}
	ep, _, ok := endpoint(conn)
	if !ok {
		t.Fatal("there is no endpoint")
	}
	var idle tcpip.KeepaliveIdleOption
	if err := ep.GetSockOpt(&idle); err != nil {
		t.Fatal(err)
	}
	if !ep.SocketOptions().GetKeepAlive() || time.Duration(idle) != 10*time.Second {
		t.Fatalf("keepalive %t after %v", ep.SocketOptions().GetKeepAlive(), time.Duration(idle))
	}
}

// What isn't acknowledged is given up where there is no node to ping.
func TestConnectionsBeyondARouterGiveUp(t *testing.T) {
	conn := pipe(t)
	if !giveUp(conn, 20*time.Second) {
		t.Fatal("the option was not set")
	}
	ep, _, _ := endpoint(conn)
	var limit tcpip.TCPUserTimeoutOption
	if err := ep.GetSockOpt(&limit); err != nil || time.Duration(limit) != 20*time.Second {
		t.Fatalf("%v after %v", err, time.Duration(limit))
	}
}

// The time since something was heard never depends on the machine's clock.
func TestSilenceIsCountedFromTheLastSound(t *testing.T) {
	p := &peer{}
	p.hears()
	if quiet := p.quiet(); quiet < 0 || quiet > time.Minute {
		t.Fatalf("quiet for %v", quiet)
	}
	p.heard.Add(-int64(time.Hour))
	if quiet := p.quiet(); quiet < time.Hour {
		t.Fatalf("quiet for %v", quiet)
	}
}

// Changes that come during a look start no other, and are taken up.
func TestChangesAreLookedAtTogether(t *testing.T) {
	n := &node{}
	n.dialed.changes.Store(1)
	n.closeToAbsent()
	if left := n.dialed.changes.Load(); left != 2 {
		t.Fatalf("%d changes wait for the look that runs", left)
	}
	n.dialed.changes.Store(0)
	n.closeToAbsent()
	if left := n.dialed.changes.Load(); left != 0 {
		t.Fatalf("%d changes are left", left)
	}
}

// closing a connection takes it from those of its peer, once.
func TestAClosedConnectionIsForgotten(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	n := &node{}
	ip := netip.MustParseAddr("100.64.0.1")
	p := &peer{conns: map[*dialedConn]struct{}{}}
	n.dialed.open = map[netip.Addr]*peer{ip: p}
	c := &dialedConn{Conn: near, peer: p}
	c.closed = func() {
		n.dialed.mu.Lock()
		defer n.dialed.mu.Unlock()
		delete(p.conns, c)
	}
	p.conns[c] = struct{}{}
	n.closeTo(p)
	n.closeTo(p)
	c.Close()
	if len(p.conns) != 0 {
		t.Fatalf("%d connections are left", len(p.conns))
	}
	if _, err := far.Read(make([]byte, 1)); err == nil {
		t.Fatal("the other end is still open")
	}
}
