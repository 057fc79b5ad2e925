package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"tailscale.com/control/ts2021"
	"tailscale.com/ipn"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
	"tailscale.com/types/logger"
)

// Between two questions whether the control server still knows the node.
const probeInterval = 30 * time.Second

// asksItself reports whether the node has to ask if it is still known.
// Tailscale's own control server tells a node that it was deleted; Headscale
// leaves its poll open and sends it nothing any more.
func (o options) asksItself() bool {
	return o.ControlURL != "" && !ipn.IsLoginServerSynonym(o.ControlURL)
}

// probe asks whether the control server still knows the node, with the request
// that a node makes when it starts. It changes nothing for a node that is
// known; one that isn't is told where to sign in.
func (n *node) probe(ctx context.Context, server key.MachinePublic) (*trouble, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	from, err := n.client.StatusWithoutPeers(ctx)
	if err != nil {
		return nil, err
	}
	if from.Self == nil || from.Self.PublicKey.IsZero() {
		return nil, nil
	}
	text, err := n.server.Store.ReadState(ipn.MachineKeyStateKey)
	if err != nil {
		return nil, err
	}
	var machine key.MachinePrivate
	if err := machine.UnmarshalText(text); err != nil {
		return nil, err
	}
	client, err := ts2021.NewClient(ts2021.ClientOpts{
		ServerURL:    n.options.ControlURL,
		PrivKey:      machine,
		ServerPubKey: server,
		Dialer:       n.server.Sys().Dialer.Get(),
		NetMon:       n.server.Sys().NetMon.Get(),
		Logf:         logger.Discard,
	})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	response, err := client.Post(ctx, "/machine/register", from.Self.PublicKey, tailcfg.RegisterRequest{
		Version:  tailcfg.CurrentCapabilityVersion,
		NodeKey:  from.Self.PublicKey,
		Hostinfo: &tailcfg.Hostinfo{Hostname: n.options.Hostname},
	})
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("register: %s", response.Status)
	}
	var answer tailcfg.RegisterResponse
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.AuthURL == "" || answer.NodeKeyExpired {
		return nil, nil
	}
	return &trouble{Kind: troubleUnknown, Message: "the node was deleted: it is asked to sign in"}, nil
}
