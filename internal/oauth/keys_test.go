package oauth_test

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/oauth/oauthtest"
	"github.com/mailgrant/mailgrant/internal/seal"
)

func verify(t *testing.T, d *oauth.Directory, s *oauthtest.Issuer, idToken seal.Secret) error {
	t.Helper()
	_, err := d.VerifyIDToken(t.Context(), idToken, oauth.Expectation{Issuer: s.URL, ClientID: "client-1", JWKSURI: s.URL + "/keys", Nonce: "n-1"})
	return err
}

func refusedSignature(err error) bool {
	var e *oauth.IDTokenError
	return errors.As(err, &e) && e.Claim == "signature"
}

// Signing keys change without notice (OpenID Connect Core, 10.1.1).
func TestVerifyIDToken_FollowsTheIssuersKeys(t *testing.T) {
	t.Parallel()
	s, d := oauthtest.Start(t), directory()
	old := s.Sign(t, s.Claims("client-1", "n-1", nil))
	if err := verify(t, d, s, old); err != nil {
		t.Fatal(err)
	}
	asked := s.Calls("/keys")
	if err := verify(t, d, s, old); err != nil || s.Calls("/keys") != asked {
		t.Fatalf("keys that are known were asked for again, or %v", err)
	}
	s.Rotate(t, "two")
	if err := verify(t, d, s, s.Sign(t, s.Claims("client-1", "n-1", nil))); err != nil {
		t.Fatalf("a key that is new: %v", err)
	}
	if err := verify(t, d, s, old); !refusedSignature(err) {
		t.Fatalf("a key that was taken back: %v", err)
	}
}

// What a header says of keys, or demands beyond what is understood, is not
// believed (RFC 7515, 4.1.2, 4.1.3, 4.1.11).
func TestVerifyIDToken_DoesNotBelieveTheHeader(t *testing.T) {
	t.Parallel()
	s, d := oauthtest.Start(t), directory()
	foreign, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	forger := func(header *jose.SignerOptions) jose.Signer {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: foreign}, header)
		if err != nil {
			t.Fatal(err)
		}
		return signer
	}
	elsewhere := oauthtest.Start(t)
	claims := s.Claims("client-1", "n-1", nil)
	for outcome, forged := range map[string]seal.Secret{
		"a key in the header":             oauthtest.SignWith(t, forger(&jose.SignerOptions{EmbedJWK: true}), claims),
		"an address of keys":              elsewhere.SignAs(t, (&jose.SignerOptions{}).WithHeader("jku", elsewhere.URL+"/keys").WithHeader("kid", "one"), claims),
		"an extension that is critical":   s.SignAs(t, (&jose.SignerOptions{}).WithHeader("kid", "one").WithHeader("x-must", true).WithCritical("x-must"), claims),
		"somebody else's key by its name": oauthtest.SignWith(t, forger((&jose.SignerOptions{}).WithHeader("kid", "one")), claims),
	} {
		t.Run(outcome, func(t *testing.T) {
			if err := verify(t, d, s, forged); !refusedSignature(err) {
				t.Fatalf("it was accepted, or refused for another reason: %v", err)
			}
		})
	}
	t.Run("a header that nobody needs to understand", func(t *testing.T) {
		if err := verify(t, d, s, s.SignAs(t, (&jose.SignerOptions{}).WithHeader("kid", "one").WithHeader("x-may", true), claims)); err != nil {
			t.Fatal(err)
		}
	})
	if n := elsewhere.Calls("/keys"); n != 0 {
		t.Errorf("keys were asked for %d times at an address that an ID token named", n)
	}
}
