package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tailscale.com/client/local"
	"tailscale.com/client/tailscale/apitype"
	"tailscale.com/ipn"
	"tailscale.com/tsnet"
)

const (
	dialTimeout = 30 * time.Second
	// A certificate may have to be ordered first.
	certificateTimeout = 2 * time.Minute
	askTimeout         = 5 * time.Second
	startingRetry      = 100 * time.Millisecond
)

type options struct {
	Hostname    string   `json:"hostname"`
	StateDir    string   `json:"state_dir"`
	AuthKey     string   `json:"auth_key"`
	ControlURL  string   `json:"control_url"`
	Ephemeral   bool     `json:"ephemeral"`
	Tags        []string `json:"tags"`
	MemoryLimit int64    `json:"memory_limit"`
	Verbose     bool     `json:"verbose"`
}

type node struct {
	server  *tsnet.Server
	client  *local.Client
	control *controlClient
	options options
	// joins counts the calls of rejoin.
	joins  atomic.Uint64
	ctx    context.Context
	cancel context.CancelFunc
	dialed peers
}

// opened is what openNode says about the node.
type opened struct {
	// Known is whether the node had joined before.
	Known bool `json:"known"`
	// HasKey is whether there is an auth key, from the options or the environment.
	HasKey bool `json:"has_key"`
	// Dropped are the files that were damaged and held nothing worth keeping.
	Dropped []string `json:"dropped"`
}

// boundProcessors leaves Go one processor, and a second on a machine with four
// or more. A packet passes half a dozen goroutines that each have next to
// nothing to do: with a processor idle, Go wakes a thread for each step.
var boundProcessors = sync.OnceFunc(func() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(1, min(2, runtime.GOMAXPROCS(0)/2)))
	}
})

// garbagePercent is how much the heap may grow between two collections. Most of
// it are WireGuard's buffers of 64 KiB, so a collection is cheap: 2 ms.
const garbagePercent = 25

// boundHeap keeps what Go holds close to what it uses.
func boundHeap(limit int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	if limit > 0 {
		debug.SetMemoryLimit(limit)
	}
}

// openNode starts a node; it does not wait until the node is on its tailnet.
func openNode(o options) (*node, opened, error) {
	var about opened
	boundProcessors()
	boundHeap(o.MemoryLimit)
	if err := os.MkdirAll(o.StateDir, 0o700); err != nil {
		return nil, about, err
	}
	known, err := hasIdentity(o.StateDir)
	if err != nil {
		return nil, about, err
	}
	fromEnvironment := keyInEnvironment()
	if o.AuthKey == "" {
		// As tsnet would, but without what surrounds it in a file or a variable.
		o.AuthKey = cmp.Or(strings.TrimSpace(os.Getenv("TS_AUTHKEY")), strings.TrimSpace(os.Getenv("TS_AUTH_KEY")))
	}
	about = opened{Known: known, HasKey: o.AuthKey != "", Dropped: dropDamaged(o.StateDir)}
	// A node that has joined needs no key. One that is used up would keep the
	// control server from offering an address to sign in at, and a client secret
	// would be exchanged for a key at every start.
	key := ""
	if !known {
		key = authKey(o)
	}
	control := &controlClient{}
	server := newServer(o, key, control)
	if err := server.Start(); err != nil {
		return nil, about, err
	}
	client, err := server.LocalClient()
	if err != nil {
		server.Close()
		return nil, about, err
	}
	if known && fromEnvironment {
		// tsnet takes a key from there when it is given none.
		if err := client.Start(context.Background(), ipn.Options{}); err != nil {
			server.Close()
			return nil, about, err
		}
	}
	if sock, ok := server.Sys().MagicSock.GetOK(); ok {
		keepPort(o.StateDir, sock.LocalPort())
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &node{server: server, client: client, control: control, options: o, ctx: ctx, cancel: cancel}
	return n, about, nil
}

func newServer(o options, key string, control *controlClient) *tsnet.Server {
	s := &tsnet.Server{
		Dir:           o.StateDir,
		Hostname:      o.Hostname,
		AuthKey:       key,
		ControlURL:    o.ControlURL,
		Ephemeral:     o.Ephemeral,
		AdvertiseTags: o.Tags,
		Port:          lastPort(o.StateDir),
		// The address to sign in at is reported by watch.
		UserLogf: func(string, ...any) {},
	}
	verbose := log.New(stderr, "tailnet: ", log.LstdFlags)
	s.Logf = func(format string, args ...any) {
		control.logged(format, args)
		if o.Verbose {
			verbose.Printf(format, args...)
		}
	}
	return s
}

// keyInEnvironment reports whether tsnet finds a key by itself.
func keyInEnvironment() bool {
	for _, name := range []string{"TS_AUTHKEY", "TS_AUTH_KEY", "TS_CLIENT_SECRET", "TS_CLIENT_ID"} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}

// authKey completes a client secret: keys made from one are ephemeral unless
// the secret's own parameters say otherwise.
func authKey(o options) string {
	if isClientSecret(o.AuthKey) && !strings.Contains(o.AuthKey, "?") {
		return fmt.Sprintf("%s?ephemeral=%t&preauthorized=true", o.AuthKey, o.Ephemeral)
	}
	return o.AuthKey
}

// rejoin has the node sign in again, with a key or without. As the node that
// it was, its connections go on; a fresh one gets another node key, and leaves
// the network first.
func (n *node) rejoin(withKey, fresh bool) error {
	ctx, cancel := context.WithTimeout(n.ctx, dialTimeout)
	defer cancel()
	key := ""
	if withKey {
		var err error
		if key, err = exchanged(ctx, n.options); err != nil {
			return err
		}
	}
	if fresh {
		// The start then doesn't sign in by itself, under the old key.
		signedOut := &ipn.MaskedPrefs{Prefs: ipn.Prefs{LoggedOut: true}, LoggedOutSet: true}
		if _, err := n.client.EditPrefs(ctx, signedOut); err != nil {
			return err
		}
	}
	n.control.forget()
	defer n.joins.Add(1)
	if err := n.client.Start(ctx, ipn.Options{AuthKey: key}); err != nil || !fresh {
		return err
	}
	return n.client.StartLoginInteractive(ctx)
}

// dial reaches host through the node: tailnet addresses and MagicDNS names
// over the tailnet, anything else over the machine's own network unless inside
// is set. With a silence, the connection ends once its peer is gone; see
// silence.go.
func (n *node) dial(host string, port uint16, inside bool, silence time.Duration) (int, error) {
	ctx, cancel := context.WithTimeout(n.ctx, dialTimeout)
	defer cancel()
	address := net.JoinHostPort(host, strconv.Itoa(int(port)))
	var conn net.Conn
	var err error
	if inside {
		conn, err = n.dialInside(ctx, host, address)
	} else {
		conn, err = n.server.Dial(ctx, "tcp", address)
	}
	if err != nil {
		return -1, err
	}
	ours, theirs, err := streamPair()
	if err != nil {
		conn.Close()
		return -1, err
	}
	boundReceive(conn)
	if silence > 0 {
		conn = n.watchSilence(conn, silence)
	}
	go join(conn, ours)
	return theirs, nil
}

// dialInside dials over the tailnet or not at all.
func (n *node) dialInside(ctx context.Context, host, address string) (net.Conn, error) {
	dialer := n.server.Sys().Dialer.Get()
	for {
		found, inside, err := dialer.UserDialPlan(ctx, "tcp", address)
		switch {
		case err == nil && inside:
			return dialer.NetstackDialTCP(ctx, found)
		case n.starting(ctx):
			// Nothing is on the tailnet for a node that isn't there yet.
		case err != nil:
			return nil, fmt.Errorf("%q is not a name on the tailnet: %w", host, err)
		case host == found.Addr().String():
			return nil, fmt.Errorf("%s is not an address on the tailnet", host)
		default:
			return nil, fmt.Errorf("%q resolves to %s, which is not an address on the tailnet", host, found.Addr())
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(startingRetry):
		}
	}
}

// starting reports whether the node is about to be on its tailnet.
func (n *node) starting(ctx context.Context) bool {
	s, err := n.client.StatusWithoutPeers(ctx)
	return err == nil && s.BackendState != ipn.Running.String() &&
		s.BackendState != ipn.NeedsMachineAuth.String() && s.AuthURL == ""
}

// whois passes on the LocalAPI's answer, and nothing if the address is not a
// node's. Only a bare address is asked for: the lookup of an unknown address
// with a port sleeps while it holds the lock of the whole node.
func (n *node) whois(address string) ([]byte, error) {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return nil, err
	}
	query := url.Values{"addr": {ip.Unmap().String()}}
	ctx, cancel := context.WithTimeout(n.ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		"http://"+apitype.LocalAPIHost+"/localapi/v0/whois?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	response, err := n.client.DoLocalRequest(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode == http.StatusNotFound:
		return nil, nil
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("whois: %s: %s", response.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}

func (n *node) certificate(domain string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(n.ctx, certificateTimeout)
	defer cancel()
	chain, key, err := n.client.CertPair(ctx, domain)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]string{"chain": string(chain), "key": string(key)})
}

// close leaves the tailnet; an ephemeral node is also removed from it.
func (n *node) close() error {
	n.cancel()
	if err := n.server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
