package connect

import (
	"crypto/sha256"

	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// newSecret makes 256 random bits in URL-safe text, for link, state, nonce and
// browser binding.
func newSecret() seal.Secret { return seal.NewSecret(oauth.NewState()) }

// digest is the form in which a secret that is only compared is stored.
func digest(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}
