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
	"gvisor.dev/gvisor/pkg/waiter"
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
	// changes counts those of the network map that a running look at the
	// peers has to take up.
	changes atomic.Int64
}

// started is where times are counted from: the clock of the machine can jump.
var started = time.Now()

func sinceStart() time.Duration {
	return time.Since(started)
}

type peer struct {
	conns map[*dialedConn]struct{}
	// heard is when anything last came from the node, as sinceStart has it.
	heard atomic.Int64
	// silence is how long it may be silent.
	silence time.Duration
}

func (p *peer) hears() {
	p.heard.Store(int64(sinceStart()))
}

func (p *peer) quiet() time.Duration {
	return sinceStart() - time.Duration(p.heard.Load())
}

// dialedConn is a connection to a peer; what comes on it is heard of the peer.
type dialedConn struct {
	net.Conn
	peer   *peer
	closed func()
	once   sync.Once
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
// leads elsewhere, as through a subnet router, has no node to ping: there, TCP
// itself gives up what isn't acknowledged.
func (n *node) watchSilence(conn net.Conn, silence time.Duration) net.Conn {
	remote, err := addrPort(conn.RemoteAddr())
	if err != nil {
		return conn
	}
	ip := remote.Addr().Unmap()
	keepAlive(conn, silence)
	if !tsaddr.IsTailscaleIP(ip) {
		giveUp(conn, silence)
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
		p.hears()
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
		if !answers || p.quiet() >= interval {
			ctx, cancel := context.WithTimeout(n.ctx, interval)
			pong, err := n.client.Ping(ctx, ip, tailcfg.PingTSMP)
			cancel()
			if err == nil && pong.Err == "" {
				answers = true
				p.hears()
			}
			if answers && p.quiet() >= silence {
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
// A busy map changes faster than peers are looked up: changes during a look
// have one more look together.
func (n *node) closeToAbsent() {
	if n.dialed.changes.Add(1) > 1 {
		return
	}
	for {
		seen := n.dialed.changes.Load()
		n.lookForAbsent()
		if n.dialed.changes.CompareAndSwap(seen, 0) {
			return
		}
	}
}

func (n *node) lookForAbsent() {
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
	ep, _, ok := endpoint(conn)
	if !ok {
		return false
	}
	idle, interval := tcpip.KeepaliveIdleOption(silence/2), tcpip.KeepaliveIntervalOption(silence/8)
	failed := ep.SetSockOpt(&idle) != nil || ep.SetSockOpt(&interval) != nil ||
		ep.SetSockOptInt(tcpip.KeepaliveCountOption, 4) != nil
	ep.SocketOptions().SetKeepAlive(true)
	return !failed
}

// giveUp ends a connection whose peer acknowledges nothing of what it is sent.
// It ends one too whose peer answers and has no room for as long, which is why
// the connections to nodes don't have it.
func giveUp(conn net.Conn, silence time.Duration) bool {
	ep, _, ok := endpoint(conn)
	if !ok {
		return false
	}
	limit := tcpip.TCPUserTimeoutOption(silence)
	return ep.SetSockOpt(&limit) == nil
}

// endpoint returns the endpoint of a connection of netstack, and the queue of
// those who wait for it.
func endpoint(conn net.Conn) (tcpip.Endpoint, *waiter.Queue, bool) {
	tcp, ok := conn.(*gonet.TCPConn)
	if !ok {
		return nil, nil, false
	}
	ep, hasEndpoint := hidden[tcpip.Endpoint](tcp, "ep")
	queue, hasQueue := hidden[*waiter.Queue](tcp, "wq")
	return ep, queue, hasEndpoint && hasQueue && ep != nil && queue != nil
}

// hidden returns a field that the adapter keeps to itself.
func hidden[T any](conn *gonet.TCPConn, name string) (value T, ok bool) {
	field := reflect.ValueOf(conn).Elem().FieldByName(name)
	if !field.IsValid() || field.Type() != reflect.TypeFor[T]() {
		return value, false
	}
	return *(*T)(unsafe.Pointer(field.UnsafeAddr())), true
}
