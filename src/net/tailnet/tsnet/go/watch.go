package main

import (
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"tailscale.com/ipn"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
	"tailscale.com/wgengine/filter"
)

const (
	// The bus says nothing when only the packet filter changes, and grants
	// live in the packet filter; comparing a pointer costs nothing.
	filterInterval = 100 * time.Millisecond
	// A node that has lost its key must be offered an address to sign in at.
	loginInterval = 15 * time.Second
	busRetry      = 500 * time.Millisecond
)

// status is one line of what watch writes.
type status struct {
	State       string       `json:"state"`
	AuthURL     string       `json:"auth_url,omitempty"`
	DNSName     string       `json:"dns_name,omitempty"`
	Addresses   []netip.Addr `json:"addresses"`
	CertDomains []string     `json:"cert_domains"`
	Tailnet     string       `json:"tailnet,omitempty"`
	KeyExpiry   *time.Time   `json:"key_expiry,omitempty"`
	// Trouble is what keeps the node from the control server's news.
	Trouble *trouble `json:"trouble,omitempty"`
	// InPoll is whether the node waits for the control server's next message.
	InPoll bool `json:"in_poll"`
	// HeardAt is when the last one came, in Unix milliseconds.
	HeardAt int64  `json:"heard_at,omitempty"`
	Joins   uint64 `json:"joins"`
	Epoch   uint64 `json:"epoch"`
}

func (n *node) snapshot() (status, error) {
	ctx, cancel := context.WithTimeout(n.ctx, askTimeout)
	defer cancel()
	from, err := n.client.StatusWithoutPeers(ctx)
	if err != nil {
		return status{}, err
	}
	s := status{
		Joins:       n.joins.Load(),
		State:       from.BackendState,
		AuthURL:     from.AuthURL,
		Addresses:   append([]netip.Addr{}, from.TailscaleIPs...),
		CertDomains: append([]string{}, from.CertDomains...),
	}
	if from.Self != nil {
		s.DNSName = strings.TrimSuffix(from.Self.DNSName, ".")
		s.KeyExpiry = from.Self.KeyExpiry
	}
	if from.CurrentTailnet != nil {
		s.Tailnet = from.CurrentTailnet.Name
	}
	n.control.tell(&s)
	return s, nil
}

// watch returns a socket on which a line of JSON appears at once and then for
// each change; closing it ends the watching. The epoch counts the changes of
// who may do what: an answer of whois holds for one epoch.
func (n *node) watch() (int, error) {
	ours, theirs, err := streamPair()
	if err != nil {
		return -1, err
	}
	ctx, cancel := context.WithCancel(n.ctx)
	go func() {
		var b [1]byte
		ours.Read(b[:])
		cancel()
	}()
	// A change is merged with one that has not been told yet.
	changes := make(chan bool, 64)
	go n.followBus(ctx, changes)
	go func() {
		defer cancel()
		defer ours.Close()
		n.report(ctx, ours, changes)
	}()
	return theirs, nil
}

// report writes a status whenever it differs from the one written before.
func (n *node) report(ctx context.Context, to net.Conn, changes <-chan bool) {
	var (
		epoch      uint64 = 1
		last       status
		lastFilter = n.packetFilter()
		loginSince = time.Now()
		probed     = time.Now()
		keys       = newKeyWatch(n.options)
	)
	ticker := time.NewTicker(filterInterval)
	defer ticker.Stop()
	for asked := true; ; {
		if asked {
			if s, err := n.snapshot(); err == nil {
				s.Epoch = epoch
				if !reflect.DeepEqual(s, last) {
					line, err := json.Marshal(s)
					if err != nil {
						return
					}
					if _, err := to.Write(append(line, '\n')); err != nil {
						return
					}
					last = s
				}
			}
		}
		asked = false
		select {
		case <-ctx.Done():
			return
		case bump := <-changes:
			asked = true
			if bump {
				epoch++
			}
			for more := true; more; {
				select {
				case bump := <-changes:
					if bump {
						epoch++
					}
				default:
					more = false
				}
			}
		case now := <-ticker.C:
			inPoll := n.server.Sys().HealthTracker.Get().GetInPollNetMap()
			n.control.look(inPoll, now)
			if other := keys.look(ctx, inPoll, now); !other.IsZero() {
				n.control.keyChanged(other)
			}
			if !inPoll {
				probed = now
			} else if now.Sub(probed) > probeInterval && !keys.known.IsZero() && n.options.asksItself() {
				probed = now
				go func(server key.MachinePublic, joins uint64) {
					if found, err := n.probe(ctx, server); err == nil && joins == n.joins.Load() {
						n.control.probed(found)
					}
				}(keys.known, n.joins.Load())
			}
			var talk status
			n.control.tell(&talk)
			asked = talk.InPoll != last.InPoll || talk.HeardAt != last.HeardAt ||
				!reflect.DeepEqual(talk.Trouble, last.Trouble) || n.joins.Load() != last.Joins
			if f := n.packetFilter(); f != lastFilter {
				lastFilter = f
				epoch++
				asked = true
			}
			if last.State != ipn.NeedsLogin.String() || last.AuthURL != "" {
				loginSince = now
			} else if now.Sub(loginSince) > loginInterval {
				loginSince = now
				asked = true
				go n.client.StartLoginInteractive(ctx)
			}
		}
	}
}

func (n *node) packetFilter() *filter.Filter {
	if engine, ok := n.server.Sys().Engine.GetOK(); ok {
		return engine.GetFilter()
	}
	return nil
}

// followBus sends true for each change of the network map and false for any
// other news. A subscription that is lost may have missed changes.
func (n *node) followBus(ctx context.Context, changes chan<- bool) {
	const mask = ipn.NotifyInitialState | ipn.NotifyPeerChanges | ipn.NotifyPeerPatches
	// One look at a time: on a busy tailnet, changes come faster than peers can be looked for.
	left := make(chan struct{}, 1)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-left:
				n.closeToAbsent()
			}
		}
	}()
	send := func(bump bool) {
		select {
		case changes <- bump:
		case <-ctx.Done():
		}
	}
	for ctx.Err() == nil {
		watcher, err := n.client.WatchIPNBus(ctx, mask)
		for err == nil {
			var notify ipn.Notify
			if notify, err = watcher.Next(); err == nil {
				changed := changesIdentity(&notify)
				send(changed)
				if changed {
					select {
					case left <- struct{}{}:
					default:
					}
				}
			}
		}
		if watcher != nil {
			watcher.Close()
		}
		send(true)
		select {
		case <-ctx.Done():
		case <-time.After(busRetry):
		}
	}
}

func changesIdentity(n *ipn.Notify) bool {
	if n.SelfChange != nil || n.NetMap != nil || n.State != nil || n.LoginFinished != nil ||
		len(n.PeersChanged) > 0 || len(n.PeersRemoved) > 0 || len(n.UserProfiles) > 0 {
		return true
	}
	for _, patch := range n.PeerChangedPatch {
		if patchesIdentity(patch) {
			return true
		}
	}
	return false
}

// patchesIdentity tells a peer that changed from one that only came online or
// moved to another endpoint, which happens all the time.
func patchesIdentity(p *tailcfg.PeerChange) bool {
	harmless := tailcfg.PeerChange{
		NodeID: p.NodeID, DERPRegion: p.DERPRegion, Endpoints: p.Endpoints,
		Online: p.Online, LastSeen: p.LastSeen, DiscoKey: p.DiscoKey,
	}
	return !reflect.DeepEqual(*p, harmless)
}
