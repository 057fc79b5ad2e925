package main

import (
	"context"
	"net"
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"tailscale.com/net/tsaddr"
	"tailscale.com/tailcfg"
)

// A peer that loses power says nothing, and netstack would repeat itself for
// many minutes. A peer that is at work is silent too, so three things tell
// them apart: pings through WireGuard that only a living node answers,
// keepalive probes for a node that came back without the connection, and the
// network map for one that has left.

// peers are the nodes that connections were dialed to.
type peers struct {
	mu   sync.Mutex
	open map[netip.Addr]*peer
}

type peer struct {
	conns map[*dialedConn]struct{}
	// heard is when anything last came from the node, in Unix nanoseconds.
	heard atomic.Int64
	// silence is how long it may be silent.
	silence time.Duration
}

// dialedConn tells its peer that something came.
type dialedConn struct {
	net.Conn
	peer   *peer
	closed func()
	once   sync.Once
}

func (c *dialedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.peer.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

func (c *dialedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (c *dialedConn) Close() error {
	c.once.Do(c.closed)
	return c.Conn.Close()
}

// watchSilence returns a connection that fails once its peer is gone. What
// leads elsewhere, as through a subnet router, is left to its own timers.
func (n *node) watchSilence(conn net.Conn, silence time.Duration) net.Conn {
	remote, err := addrPort(conn.RemoteAddr())
	if err != nil {
		return conn
	}
	ip := remote.Addr().Unmap()
	keepAlive(conn, silence)
	if !tsaddr.IsTailscaleIP(ip) {
		return conn
	}
	if known, err := n.whois(ip.String()); err != nil || known == nil {
		return conn
	}
	d := &n.dialed
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.open[ip]
	if p == nil {
		p = &peer{conns: map[*dialedConn]struct{}{}}
		p.heard.Store(time.Now().UnixNano())
		if d.open == nil {
			d.open = map[netip.Addr]*peer{}
		}
		d.open[ip] = p
		go n.ask(ip, p)
	}
	p.silence = silence
	c := &dialedConn{Conn: conn, peer: p}
	c.closed = func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(p.conns, c)
	}
	p.conns[c] = struct{}{}
	return c
}

// ask pings a silent peer for as long as there are connections to it.
func (n *node) ask(ip netip.Addr, p *peer) {
	// One that has never answered may not know these pings.
	answers := false
	for {
		n.dialed.mu.Lock()
		silence := p.silence
		n.dialed.mu.Unlock()
		interval := max(silence/4, 500*time.Millisecond)
		quiet := time.Since(time.Unix(0, p.heard.Load()))
		if !answers || quiet >= interval {
			ctx, cancel := context.WithTimeout(n.ctx, interval)
			pong, err := n.client.Ping(ctx, ip, tailcfg.PingTSMP)
			cancel()
			if err == nil && pong.Err == "" {
				answers = true
				p.heard.Store(time.Now().UnixNano())
			}
			if answers && time.Since(time.Unix(0, p.heard.Load())) >= silence {
				n.closeTo(p)
			}
		}
		select {
		case <-n.ctx.Done():
			return
		case <-time.After(interval):
		}
		n.dialed.mu.Lock()
		if len(p.conns) == 0 {
			delete(n.dialed.open, ip)
			n.dialed.mu.Unlock()
			return
		}
		n.dialed.mu.Unlock()
	}
}

func (n *node) closeTo(p *peer) {
	n.dialed.mu.Lock()
	conns := make([]*dialedConn, 0, len(p.conns))
	for c := range p.conns {
		conns = append(conns, c)
	}
	n.dialed.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

// closeToAbsent ends the connections to peers that have left the network map.
func (n *node) closeToAbsent() {
	n.dialed.mu.Lock()
	open := make(map[netip.Addr]*peer, len(n.dialed.open))
	for ip, p := range n.dialed.open {
		open[ip] = p
	}
	n.dialed.mu.Unlock()
	for ip, p := range open {
		if known, err := n.whois(ip.String()); err == nil && known == nil {
			n.closeTo(p)
		}
	}
}

// keepAlive probes a connection on which nothing is due. netstack has the
// options, but its adapter keeps the endpoint to itself.
func keepAlive(conn net.Conn, silence time.Duration) bool {
	if tcp, ok := conn.(*net.TCPConn); ok {
		return tcp.SetKeepAliveConfig(net.KeepAliveConfig{
			Enable: true, Idle: silence / 2, Interval: silence / 8, Count: 4,
		}) == nil
	}
	tcp, ok := conn.(*gonet.TCPConn)
	if !ok {
		return false
	}
	field := reflect.ValueOf(tcp).Elem().FieldByName("ep")
	if !field.IsValid() {
		return false
	}
	ep, ok := reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Interface().(tcpip.Endpoint)
	if !ok {
		return false
	}
	idle, interval := tcpip.KeepaliveIdleOption(silence/2), tcpip.KeepaliveIntervalOption(silence/8)
	failed := ep.SetSockOpt(&idle) != nil || ep.SetSockOpt(&interval) != nil ||
		ep.SetSockOptInt(tcpip.KeepaliveCountOption, 4) != nil
	ep.SocketOptions().SetKeepAlive(true)
	return !failed
}
