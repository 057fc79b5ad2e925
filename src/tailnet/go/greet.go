package main

import (
	"context"
	"net/netip"
	"time"

	"tailscale.com/tailcfg"
)

const (
	// Most peers that are greeted, and how many at once.
	greeted     = 256
	greetAtOnce = 16
	// How long an answer is waited for, and how often one is asked for.
	greetTimeout = 500 * time.Millisecond
	greetTries   = 20
)

// greet sends each peer that is online a packet. A peer that knew this node
// before it was started again goes on encrypting for a session that is no
// more, and begins another after some fifteen seconds of silence; a packet
// from here has it begin sooner.
func (n *node) greet() {
	ctx, cancel := context.WithTimeout(n.ctx, askTimeout)
	defer cancel()
	status, err := n.client.Status(ctx)
	if err != nil {
		return
	}
	var peers []netip.Addr
	for _, peer := range status.Peer {
		if peer.Online && len(peer.TailscaleIPs) > 0 && len(peers) < greeted {
			peers = append(peers, peer.TailscaleIPs[0])
		}
	}
	room := make(chan struct{}, greetAtOnce)
	for _, peer := range peers {
		room <- struct{}{}
		go func() {
			defer func() { <-room }()
			n.greetPeer(peer)
		}()
	}
}

// greetPeer tries until the peer has answered on both layers, for some seconds.
func (n *node) greetPeer(peer netip.Addr) {
	for range greetTries {
		if n.ctx.Err() != nil {
			return
		}
		if n.ping(peer, tailcfg.PingDisco) && n.ping(peer, tailcfg.PingTSMP) {
			return
		}
	}
}

func (n *node) ping(peer netip.Addr, kind tailcfg.PingType) bool {
	ctx, cancel := context.WithTimeout(n.ctx, greetTimeout)
	defer cancel()
	answer, err := n.client.Ping(ctx, peer, kind)
	return err == nil && answer.Err == ""
}
