package main

import (
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
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"tailscale.com/client/local"
	"tailscale.com/client/tailscale/apitype"
	"tailscale.com/tsnet"
)

const (
	dialTimeout = 30 * time.Second
	// A certificate may have to be ordered first.
	certificateTimeout = 2 * time.Minute
	askTimeout         = 5 * time.Second
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
	server *tsnet.Server
	client *local.Client
	ctx    context.Context
	cancel context.CancelFunc
}

// openNode starts a node; it does not wait until the node is on its tailnet.
func openNode(o options) (*node, error) {
	if o.MemoryLimit > 0 {
		debug.SetMemoryLimit(o.MemoryLimit)
	}
	if err := os.MkdirAll(o.StateDir, 0o700); err != nil {
		return nil, err
	}
	server := newServer(o, authKey(o))
	err := server.Start()
	if err != nil && isClientSecret(o.AuthKey) && hasState(o.StateDir) {
		// tsnet exchanges the client secret for a key at every start. A node
		// that has signed in before needs no key, and must start while the
		// service that makes keys can't be reached.
		server.Close()
		server = newServer(o, "")
		err = server.Start()
	}
	if err != nil {
		return nil, err
	}
	client, err := server.LocalClient()
	if err != nil {
		server.Close()
		return nil, err
	}
	if sock, ok := server.Sys().MagicSock.GetOK(); ok {
		keepPort(o.StateDir, sock.LocalPort())
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &node{server: server, client: client, ctx: ctx, cancel: cancel}, nil
}

func newServer(o options, key string) *tsnet.Server {
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
	if o.Verbose {
		s.Logf = log.New(stderr, "tailnet: ", log.LstdFlags).Printf
	}
	return s
}

func isClientSecret(key string) bool { return strings.HasPrefix(key, "tskey-client-") }

// authKey completes a client secret: keys made from one are ephemeral unless
// the secret's own parameters say otherwise.
func authKey(o options) string {
	if isClientSecret(o.AuthKey) && !strings.Contains(o.AuthKey, "?") {
		return fmt.Sprintf("%s?ephemeral=%t&preauthorized=true", o.AuthKey, o.Ephemeral)
	}
	return o.AuthKey
}

func hasState(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, "tailscaled.state"))
	return err == nil && info.Size() > 0
}

// dial reaches host through the node: tailnet addresses and MagicDNS names
// over the tailnet, anything else over the machine's own network.
func (n *node) dial(host string, port uint16) (int, error) {
	ctx, cancel := context.WithTimeout(n.ctx, dialTimeout)
	defer cancel()
	conn, err := n.server.Dial(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		return -1, err
	}
	ours, theirs, err := streamPair()
	if err != nil {
		conn.Close()
		return -1, err
	}
	go join(conn, ours)
	return theirs, nil
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
