package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAClientSecretIsExchangedForAKey(t *testing.T) {
	var wanted string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/api/v2/oauth/token":
			if err := r.ParseForm(); err != nil || r.PostForm.Get("client_id") == "" && r.Header.Get("Authorization") == "" {
				t.Errorf("no credentials: %v, %v", err, r.Header)
			}
			w.Write([]byte(`{"access_token":"t","token_type":"Bearer"}`))
		case "/api/v2/tailnet/-/keys":
			var body json.RawMessage
			json.NewDecoder(r.Body).Decode(&body)
			wanted = string(body)
			w.Write([]byte(`{"id":"k","key":"tskey-auth-made"}`))
		default:
			t.Errorf("%s is asked for", r.URL)
		}
	}))
	defer server.Close()
	secret := "tskey-client-a-b?ephemeral=false&preauthorized=true&baseURL=" + server.URL
	made, err := exchanged(context.Background(), options{AuthKey: secret, Tags: []string{"tag:ai"}})
	if err != nil || made != "tskey-auth-made" {
		t.Fatalf("%q, %v", made, err)
	}
	for _, part := range []string{`"preauthorized":true`, `"ephemeral":false`, `"tag:ai"`} {
		if !strings.Contains(wanted, part) {
			t.Errorf("%s is missing in %s", part, wanted)
		}
	}
	key, err := exchanged(context.Background(), options{AuthKey: "tskey-auth-x"})
	if err != nil || key != "tskey-auth-x" {
		t.Errorf("a key: %q, %v", key, err)
	}
}
