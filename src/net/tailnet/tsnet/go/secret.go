package main

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"golang.org/x/oauth2/clientcredentials"
	"tailscale.com/client/tailscale"
)

func isClientSecret(key string) bool { return strings.HasPrefix(key, "tskey-client-") }

// exchanged is the auth key of the options, made of a client secret if it is
// one. tsnet does the same, and only when it starts.
func exchanged(ctx context.Context, o options) (string, error) {
	key := authKey(o)
	if !isClientSecret(key) {
		return key, nil
	}
	secret, more, _ := strings.Cut(key, "?")
	attributes, err := url.ParseQuery(more)
	if err != nil {
		return "", errors.New("the parameters behind the OAuth client secret can't be read")
	}
	base := "https://api.tailscale.com"
	if other := attributes.Get("baseURL"); other != "" {
		base = other
	}
	credentials := clientcredentials.Config{
		ClientID:     "iris", // ignored
		ClientSecret: secret,
		TokenURL:     base + "/api/v2/oauth/token",
	}
	client := tailscale.NewClient("-", nil)
	client.HTTPClient = credentials.Client(ctx)
	client.BaseURL = base
	var wanted tailscale.KeyCapabilities
	wanted.Devices.Create = tailscale.KeyDeviceCreateCapabilities{
		Ephemeral:     attributes.Get("ephemeral") != "false",
		Preauthorized: attributes.Get("preauthorized") == "true",
		Tags:          o.Tags,
	}
	made, _, err := client.CreateKey(ctx, wanted)
	return made, err
}
