package control

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
	"tailscale.com/util/zstdframe"
)

// A poll that says nothing for two minutes counts as lost.
const keepAlive = 50 * time.Second

// serveMap takes what a node reports of itself and, for a poll, sends the
// network map now and after each change.
func (s *Server) serveMap(w http.ResponseWriter, r *http.Request) {
	request, err := read[tailcfg.MapRequest](r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	// A poll is for reading: its fields about the node are empty, since each
	// report is a request of its own (tailcfg.MapRequest.Stream).
	if !request.Stream && !request.ReadOnly {
		s.report(r, &request)
	}
	if request.OmitPeers && !request.Stream {
		return
	}
	send := func(response *tailcfg.MapResponse) bool {
		return write(w, response, request.Compress != "") == nil
	}
	changed := s.subscribe(r, &request)
	for {
		response := s.networkMap(r, request.NodeKey)
		if response == nil {
			http.Error(w, "unknown node", http.StatusNotFound)
			return
		}
		if !send(response) || !request.Stream || !wait(r.Context(), changed, send) {
			return
		}
	}
}

// wait returns true when the map has changed, and false when the poll is over.
func wait(ctx context.Context, changed <-chan struct{}, send func(*tailcfg.MapResponse) bool) bool {
	ticker := time.NewTicker(keepAlive)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case _, open := <-changed:
			return open
		case <-ticker.C:
			if !send(&tailcfg.MapResponse{KeepAlive: true}) {
				return false
			}
		}
	}
}

// report notes where a node can be reached.
func (s *Server) report(r *http.Request, request *tailcfg.MapRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	node := s.nodeLocked(r, request.NodeKey)
	if node == nil {
		return
	}
	node.DiscoKey = request.DiscoKey
	node.Endpoints = request.Endpoints
	if request.Hostinfo != nil {
		node.Hostinfo = request.Hostinfo.View()
	}
	s.notifyLocked()
}

// subscribe returns a channel that gets a value for changes, and is closed
// when the node polls again.
func (s *Server) subscribe(r *http.Request, request *tailcfg.MapRequest) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !request.Stream || s.nodeLocked(r, request.NodeKey) == nil {
		return nil
	}
	if previous, ok := s.polls[request.NodeKey]; ok {
		close(previous)
	}
	changed := make(chan struct{}, 1)
	s.polls[request.NodeKey] = changed
	return changed
}

func (s *Server) notifyLocked() {
	for _, changed := range s.polls {
		select {
		case changed <- struct{}{}:
		default: // It has one to take already.
		}
	}
}

// networkMap is everything that a node is told; nil for one that never joined.
func (s *Server) networkMap(r *http.Request, asking key.NodePublic) *tailcfg.MapResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	self := s.nodeLocked(r, asking)
	if self == nil {
		return nil
	}
	peers := []*tailcfg.Node{}
	for _, node := range s.nodes {
		if node != self {
			peers = append(peers, node.Clone())
		}
	}
	slices.SortFunc(peers, func(a, b *tailcfg.Node) int { return int(a.ID - b.ID) })
	return &tailcfg.MapResponse{
		Node:         self.Clone(),
		Peers:        peers,
		UserProfiles: s.users,
		Domain:       s.domain,
		DNSConfig:    &tailcfg.DNSConfig{Proxied: true, Domains: []string{s.domain}},
		DERPMap:      s.relay.derpMap,
		PacketFilter: s.filter,
		// Nothing of a demo is for anybody's statistics.
		CollectServices: "false",
	}
}

// write sends a message as nodes expect it: its length, little-endian, then
// JSON.
func write(w http.ResponseWriter, response *tailcfg.MapResponse, compress bool) error {
	message, err := json.Marshal(response)
	if err != nil {
		return err
	}
	if compress {
		message = zstdframe.AppendEncode(nil, message, zstdframe.FastestCompression)
	}
	framed := binary.LittleEndian.AppendUint32(nil, uint32(len(message)))
	if _, err := w.Write(append(framed, message...)); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}
