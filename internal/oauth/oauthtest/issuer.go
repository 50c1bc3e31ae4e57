// Package oauthtest is a small authorization server that does in a test what
// it is told: it signs what claims it is given and answers what it is scripted
// to answer. It is no model of any real server.
package oauthtest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mailgrant/mailgrant/internal/seal"
)

// Issuer is a running scripted server on loopback.
type Issuer struct {
	URL string         // its issuer, without a slash at the end
	Mux *http.ServeMux // for further paths of the test's own

	mu       sync.Mutex
	token    func(form url.Values, r *http.Request) (int, any)
	userInfo func(accessToken string) (int, any)
	metadata map[string]any
	missing  map[string]bool
	calls    map[string]int
	signer   jose.Signer
	key      *rsa.PrivateKey
	keyID    string
	keyErr   int
}

// Start runs a server for the length of the test.
func Start(t testing.TB) *Issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := &Issuer{calls: map[string]int{}, key: key, keyID: "one", missing: map[string]bool{}, Mux: http.NewServeMux()}
	s.signer = NewSigner(t, jose.RS256, key)
	mux := s.Mux
	mux.HandleFunc("GET /.well-known/openid-configuration", s.serveMetadata)
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.serveMetadata)
	mux.HandleFunc("GET /keys", s.serveKeys)
	mux.HandleFunc("POST /token", s.serveToken)
	mux.HandleFunc("GET /userinfo", s.serveUserInfo)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.URL = server.URL
	s.metadata = map[string]any{
		"issuer": s.URL, "authorization_endpoint": s.URL + "/authorize", "token_endpoint": s.URL + "/token",
		"jwks_uri": s.URL + "/keys", "userinfo_endpoint": s.URL + "/userinfo",
	}
	return s
}

// NewSigner makes a signer with the key id "one", for keys of the test's own.
func NewSigner(t testing.TB, alg jose.SignatureAlgorithm, key any) jose.Signer {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "one"))
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// OnToken scripts the token endpoint: status and a JSON value, or a string that
// is sent as it stands. Status 0 closes the connection without an answer.
func (s *Issuer) OnToken(answer func(form url.Values, r *http.Request) (int, any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = answer
}

// OnUserInfo scripts the UserInfo endpoint.
func (s *Issuer) OnUserInfo(answer func(accessToken string) (int, any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.userInfo = answer
}

// SetMetadata changes or, with nil, removes a field of the metadata.
func (s *Issuer) SetMetadata(name string, value any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metadata[name] = value
	if value == nil {
		delete(s.metadata, name)
	}
}

// Miss makes a path answer 404.
func (s *Issuer) Miss(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.missing[path] = true
}

// FailKeys makes the key set answer with a status.
func (s *Issuer) FailKeys(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keyErr = status
}

// Calls counts the requests to a path.
func (s *Issuer) Calls(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[path]
}

// Claims are those of a good ID token for this client; changes are laid over
// them, and nil removes a claim.
func (s *Issuer) Claims(clientID, nonce string, changes map[string]any) map[string]any {
	now := time.Now()
	c := map[string]any{
		"iss": s.URL, "sub": "subject-1", "aud": clientID, "nonce": nonce,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// Rotate replaces the server's key; the old one is not published any more.
func (s *Issuer) Rotate(t testing.TB, keyID string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", keyID))
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key, s.keyID, s.signer = key, keyID, signer
}

// Sign makes a JWT with the server's own key.
func (s *Issuer) Sign(t testing.TB, claims map[string]any) seal.Secret {
	t.Helper()
	s.mu.Lock()
	signer := s.signer
	s.mu.Unlock()
	return SignWith(t, signer, claims)
}

// SignAs makes a JWT with the server's own key and header fields of the test's
// own.
func (s *Issuer) SignAs(t testing.TB, header *jose.SignerOptions, claims map[string]any) seal.Secret {
	t.Helper()
	s.mu.Lock()
	key := s.key
	s.mu.Unlock()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, header)
	if err != nil {
		t.Fatal(err)
	}
	return SignWith(t, signer, claims)
}

// SignWith makes a JWT with a signer of the test's own.
func SignWith(t testing.TB, signer jose.Signer, claims map[string]any) seal.Secret {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	object, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := object.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return seal.NewSecret(compact)
}

func (s *Issuer) serveMetadata(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.calls[r.URL.Path]++
	missing, doc := s.missing[r.URL.Path], maps.Clone(s.metadata)
	s.mu.Unlock()
	if missing {
		http.NotFound(w, r)
		return
	}
	reply(w, http.StatusOK, doc)
}

func (s *Issuer) serveKeys(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.calls[r.URL.Path]++
	failed, key, keyID := s.keyErr, s.key, s.keyID
	s.mu.Unlock()
	if failed != 0 {
		w.WriteHeader(failed)
		return
	}
	reply(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: keyID, Algorithm: "RS256", Use: "sig"}}})
}

func (s *Issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	s.mu.Lock()
	s.calls[r.URL.Path]++
	answer := s.token
	s.mu.Unlock()
	if answer == nil {
		http.NotFound(w, r)
		return
	}
	status, body := answer(r.PostForm, r)
	reply(w, status, body)
}

func (s *Issuer) serveUserInfo(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.calls[r.URL.Path]++
	answer := s.userInfo
	s.mu.Unlock()
	if answer == nil {
		http.NotFound(w, r)
		return
	}
	bearer := r.Header.Get("Authorization")
	status, body := answer(bearer[min(len("Bearer "), len(bearer)):])
	reply(w, status, body)
}

// Reply writes a status and a JSON value, or a string as it stands. Status 0
// closes the connection without an answer.
func Reply(w http.ResponseWriter, status int, body any) { reply(w, status, body) }

func reply(w http.ResponseWriter, status int, body any) {
	if status == 0 {
		panic(http.ErrAbortHandler) // net/http's own word for closing without an answer
	}
	if text, ok := body.(string); ok {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
