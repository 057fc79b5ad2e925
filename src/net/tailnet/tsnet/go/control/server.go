// Package control is a control server and a relay for a tailnet inside one
// process: nodes register with keys that were agreed on beforehand, learn of
// each other, and get the packet filter that the caller computes.
//
// It exists for the demo. It listens on loopback only, keeps nothing on disk,
// and knows no sign-in, no key expiry and no tailnet lock. Tailscale's own
// test control server would do most of this, but it invents its users and
// gives everyone the same capabilities.
package control

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
	"sync"

	"tailscale.com/control/controlbase"
	"tailscale.com/control/controlhttp/controlhttpserver"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

// Options describes the whole tailnet: who may join and under which key.
type Options struct {
	// Domain is the MagicDNS suffix of every node, such as "demo.internal".
	Domain string
	// Nodes lists the nodes that may join, in the order of their numbers.
	Nodes []Node
	// Filter holds the packet filter's rules, grants included.
	Filter []tailcfg.FilterRule
}

// Node is a node that may join, and whose it is.
type Node struct {
	// Hostname is its name.
	Hostname string
	// AuthKey is what the node joins with. It is of use to the first machine
	// that brings it, and to no other.
	AuthKey string
	// Address is its IPv4 address on the tailnet.
	Address netip.Addr
	// Login and Name are its owner's; they are ignored for a tagged node.
	Login string
	Name  string
	// Tags make the node belong to nobody, as on every tailnet.
	Tags []string
}

// Server is a running control server.
type Server struct {
	// URL is what nodes take as their control server.
	URL string

	domain  string
	private key.MachinePrivate
	allowed map[string]*member
	users   []tailcfg.UserProfile
	relay   *relay
	plain   *http.Server
	secure  *http.Server

	mu     sync.Mutex
	filter []tailcfg.FilterRule
	nodes  map[key.NodePublic]*tailcfg.Node
	polls  map[key.NodePublic]chan struct{}
}

// member is a node that may join, resolved to what its peers are told.
type member struct {
	id       tailcfg.NodeID
	user     tailcfg.UserID
	hostname string
	address  netip.Addr
	tags     []string
	// machine is the one that has joined with the key.
	machine key.MachinePublic
}

// taggedDevices owns every tagged node, under the name that Tailscale uses.
const taggedDevices tailcfg.UserID = 1

// Start opens a control server and its relay on free loopback ports.
func Start(o Options) (*Server, error) {
	s := &Server{
		domain:  o.Domain,
		private: key.NewMachine(),
		allowed: map[string]*member{},
		users: []tailcfg.UserProfile{
			{ID: taggedDevices, LoginName: "tagged-devices", DisplayName: "Tagged Devices"},
		},
		filter: o.Filter,
		nodes:  map[key.NodePublic]*tailcfg.Node{},
		polls:  map[key.NodePublic]chan struct{}{},
	}
	for i, n := range o.Nodes {
		m := &member{
			id:       tailcfg.NodeID(i + 1),
			user:     taggedDevices,
			hostname: n.Hostname,
			address:  n.Address,
			tags:     n.Tags,
		}
		if len(n.Tags) == 0 {
			m.user = s.user(n.Login, n.Name)
		}
		s.allowed[n.AuthKey] = m
	}
	relay, err := startRelay()
	if err != nil {
		return nil, err
	}
	s.relay = relay
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		relay.close()
		return nil, err
	}
	s.URL = "http://" + listener.Addr().String()
	s.plain = &http.Server{Handler: s.routes(), ErrorLog: quiet}
	s.secure = newSecure(s)
	go s.plain.Serve(listener)
	return s, nil
}

// quiet drops what HTTP servers say of nodes that leave.
var quiet = log.New(io.Discard, "", 0)

// user returns the ID of a login, which several nodes may share.
func (s *Server) user(login, name string) tailcfg.UserID {
	for _, u := range s.users {
		if u.LoginName == login {
			return u.ID
		}
	}
	id := tailcfg.UserID(len(s.users) + 1)
	s.users = append(s.users, tailcfg.UserProfile{ID: id, LoginName: login, DisplayName: name})
	return id
}

// SetFilter replaces the packet filter and tells every node.
func (s *Server) SetFilter(filter []tailcfg.FilterRule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.filter = filter
	s.notifyLocked()
}

// Close ends the server, its relay and every poll.
func (s *Server) Close() {
	s.plain.Close()
	s.secure.Close()
	s.relay.close()
}

// routes are what a node asks before it speaks Noise: the server's key, and
// the upgrade to it.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /key", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(&tailcfg.OverTLSPublicKeyResponse{PublicKey: s.private.Public()})
	})
	mux.HandleFunc("POST /ts2021", func(w http.ResponseWriter, r *http.Request) {
		conn, err := controlhttpserver.AcceptHTTP(r.Context(), w, r, s.private, nil)
		if err != nil {
			return // AcceptHTTP has answered.
		}
		// Serve returns once the connection is closed.
		s.secure.Serve(&oneConn{Conn: conn, closed: make(chan struct{})})
	})
	return mux
}

// newSecure is the server inside of Noise, which is HTTP/2 without TLS.
func newSecure(s *Server) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /machine/register", s.register)
	mux.HandleFunc("POST /machine/map", s.serveMap)
	mux.HandleFunc("POST /machine/update-health", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, io.LimitReader(r.Body, maxRequest))
		w.WriteHeader(http.StatusNoContent)
	})
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:   mux,
		Protocols: &protocols,
		ErrorLog:  quiet,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, machineKey{}, conn.(*oneConn).Peer())
		},
	}
}

// machineKey is the context key of the machine that a request came from.
type machineKey struct{}

// nodeLocked finds a node that belongs to the machine that asks.
func (s *Server) nodeLocked(r *http.Request, node key.NodePublic) *tailcfg.Node {
	found, ok := s.nodes[node]
	if !ok || found.Machine != r.Context().Value(machineKey{}) {
		return nil
	}
	return found
}

// oneConn is a listener that gives one connection and then waits for its end,
// so that an HTTP server can be run on a connection that was upgraded.
type oneConn struct {
	*controlbase.Conn
	once   sync.Once
	given  bool
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if !l.given {
		l.given = true
		return l, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Addr() net.Addr { return l.LocalAddr() }

func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Conn.Close()
}

const maxRequest = 1 << 20

// read decodes a request of a node.
func read[T any](r *http.Request) (out T, err error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err != nil {
		return out, err
	}
	return out, json.Unmarshal(body, &out)
}

// register lets a node in that brings one of the keys, and says why not to
// any other.
func (s *Server) register(w http.ResponseWriter, r *http.Request) {
	request, err := read[tailcfg.RegisterRequest](r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	response, err := s.admit(r, &request)
	if err != nil {
		response = &tailcfg.RegisterResponse{Error: err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(response)
}

func (s *Server) admit(r *http.Request, request *tailcfg.RegisterRequest) (*tailcfg.RegisterResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	node := s.nodeLocked(r, request.NodeKey)
	if node == nil {
		if request.Auth == nil {
			return nil, errors.New("this tailnet has no sign-in page: join with an auth key")
		}
		machine := r.Context().Value(machineKey{}).(key.MachinePublic)
		m, ok := s.allowed[request.Auth.AuthKey]
		if !ok {
			return nil, errors.New("invalid auth key")
		}
		if !m.machine.IsZero() && m.machine != machine {
			return nil, errors.New("this auth key has been used")
		}
		if _, taken := s.nodes[request.NodeKey]; taken {
			return nil, errors.New("this node key belongs to another machine")
		}
		m.machine = machine
		address := netip.PrefixFrom(m.address, m.address.BitLen())
		online := true
		node = &tailcfg.Node{
			ID:                m.id,
			StableID:          tailcfg.StableNodeID(fmt.Sprintf("n%d", m.id)),
			Name:              m.hostname + "." + s.domain + ".",
			User:              m.user,
			Key:               request.NodeKey,
			Machine:           machine,
			Addresses:         []netip.Prefix{address},
			AllowedIPs:        []netip.Prefix{address},
			Tags:              m.tags,
			MachineAuthorized: true,
			Online:            &online,
			HomeDERP:          relayRegion,
		}
		s.nodes[request.NodeKey] = node
	}
	node.Hostinfo = request.Hostinfo.View()
	node.Cap = request.Version
	profile := s.users[node.User-1]
	s.notifyLocked()
	return &tailcfg.RegisterResponse{
		MachineAuthorized: true,
		User:              tailcfg.User{ID: profile.ID, DisplayName: profile.DisplayName},
		Login: tailcfg.Login{
			ID: tailcfg.LoginID(profile.ID), LoginName: profile.LoginName, DisplayName: profile.DisplayName,
		},
	}, nil
}
