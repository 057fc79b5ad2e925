package control

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"tailscale.com/envknob"
	"tailscale.com/tailcfg"
	"tailscale.com/tsnet"
)

func init() {
	// Must come before any node: there is no log server to reach.
	envknob.SetNoLogsNoSupport()
}

const capability = "example.com/cap/ai"

func start(t *testing.T) *Server {
	t.Helper()
	server, err := Start(Options{
		Domain: "demo.internal",
		Nodes: []Node{
			{Hostname: "ai", AuthKey: "key-ai", Address: netip.MustParseAddr("100.64.0.1"), Tags: []string{"tag:ai"}},
			{Hostname: "laptop", AuthKey: "key-alice", Address: netip.MustParseAddr("100.64.0.2"), Login: "alice@example.com", Name: "Alice"},
		},
		Filter: tailcfg.FilterAllowAll,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

func join(t *testing.T, server *Server, name, key string) *tsnet.Server {
	t.Helper()
	node := &tsnet.Server{
		Dir: t.TempDir(), Hostname: name, AuthKey: key, ControlURL: server.URL,
		Logf: func(string, ...any) {}, UserLogf: func(string, ...any) {},
	}
	t.Cleanup(func() { node.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := node.Up(ctx); err != nil {
		t.Fatal(err)
	}
	return node
}

// Two nodes find each other by name, and each learns who the other is and what
// the filter grants them.
func TestNodesMeet(t *testing.T) {
	server := start(t)
	ai, alice := join(t, server, "ai", "key-ai"), join(t, server, "laptop", "key-alice")
	listener, err := ai.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		io.WriteString(w, host)
	}))
	response, err := alice.HTTPClient().Get("http://ai/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	from, err := io.ReadAll(response.Body)
	if err != nil || string(from) != "100.64.0.2" {
		t.Fatalf("came from %q (%v)", from, err)
	}

	client, err := ai.LocalClient()
	if err != nil {
		t.Fatal(err)
	}
	who, err := client.WhoIs(t.Context(), "100.64.0.2")
	if err != nil || who.UserProfile.LoginName != "alice@example.com" || len(who.CapMap) != 0 {
		t.Fatalf("WhoIs: %+v (%v)", who, err)
	}
	server.SetFilter(append(tailcfg.FilterAllowAll, tailcfg.FilterRule{
		SrcIPs: []string{"100.64.0.2"},
		CapGrant: []tailcfg.CapGrant{{
			Dsts:   []netip.Prefix{netip.MustParsePrefix("100.64.0.1/32")},
			CapMap: tailcfg.PeerCapMap{capability: {`{"role":"user"}`}},
		}},
	}))
	for deadline := time.Now().Add(10 * time.Second); ; {
		who, err := client.WhoIs(t.Context(), "100.64.0.2")
		if err != nil {
			t.Fatal(err)
		}
		if len(who.CapMap[capability]) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the grant never arrived: %v", who.CapMap)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A node without one of the keys never joins, nor one with a key that another
// machine has used.
func TestStrangersStayOut(t *testing.T) {
	server := start(t)
	join(t, server, "ai", "key-ai")
	for _, key := range []string{"guessed", "key-ai"} {
		node := &tsnet.Server{
			Dir: t.TempDir(), Hostname: "stranger", AuthKey: key, ControlURL: server.URL,
			Logf: func(string, ...any) {}, UserLogf: func(string, ...any) {},
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if _, err := node.Up(ctx); err == nil {
			t.Errorf("it joined with %q", key)
		}
		cancel()
		node.Close()
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	if len(server.nodes) != 1 {
		t.Fatalf("%d nodes are there", len(server.nodes))
	}
}
