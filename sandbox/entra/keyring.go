package entra

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// keyring holds the signing keys. The first signs; all are published. There are always at least two.
type keyring struct {
	mu   sync.RWMutex
	keys []signingKey
}

type signingKey struct {
	id      string
	private *rsa.PrivateKey
}

func newKeyring() (*keyring, error) {
	ring := &keyring{}
	for range 2 {
		key, err := newSigningKey()
		if err != nil {
			return nil, err
		}
		ring.keys = append(ring.keys, key)
	}
	return ring, nil
}

func newSigningKey() (signingKey, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return signingKey{}, fmt.Errorf("making a signing key: %w", err)
	}
	sum := sha256.Sum256(private.N.Bytes())
	return signingKey{id: base64.RawURLEncoding.EncodeToString(sum[:20]), private: private}, nil
}

// rotate lets a new key sign. The one that signed until now stays published; the oldest is withdrawn.
func (k *keyring) rotate() error {
	key, err := newSigningKey()
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = slices.Insert(k.keys, 0, key)[:2]
	return nil
}

// sign makes a JWT out of the claims (RFC 7519), with RS256.
func (k *keyring) sign(claims map[string]any) (string, error) {
	k.mu.RLock()
	key := k.keys[0]
	k.mu.RUnlock()
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("x5t", key.id)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key.private, KeyID: key.id}}, options)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return text, nil
}

// verify checks a JWT's signature and fills claims; it does not look at times.
func (k *keyring) verify(raw string, claims any) error {
	parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return fmt.Errorf("reading the access token: %w", err)
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, key := range k.keys {
		if len(parsed.Headers) == 1 && parsed.Headers[0].KeyID == key.id {
			if err := parsed.Claims(&key.private.PublicKey, claims); err != nil {
				return fmt.Errorf("checking the access token's signature: %w", err)
			}
			return nil
		}
	}
	return fmt.Errorf("the access token is not signed by a key of this sandbox")
}

// published is the key document (RFC 7517) with Entra's extra member `issuer` in each key.
func (k *keyring) published(issuer string) (map[string]any, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	keys := make([]map[string]any, 0, len(k.keys))
	for _, key := range k.keys {
		text, err := jose.JSONWebKey{Key: &key.private.PublicKey, KeyID: key.id, Use: "sig"}.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("publishing a key: %w", err)
		}
		var members map[string]any
		if err := json.Unmarshal(text, &members); err != nil {
			return nil, fmt.Errorf("publishing a key: %w", err)
		}
		members["x5t"], members["issuer"] = key.id, issuer
		keys = append(keys, members)
	}
	return map[string]any{"keys": keys}, nil
}
