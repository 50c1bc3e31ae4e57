package connect

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// attemptLife is how long a person may take at the provider: a first sign-in
// with a second factor to enrol takes its time.
const attemptLife = 30 * time.Minute

// Choice is what a person chose on the owner's page.
type Choice struct {
	// SelectAccount asks the provider to let the person choose who they are, for
	// one whose browser is signed in as somebody else: by its account picker, or
	// by a sign-in afresh where it has none.
	SelectAccount bool
}

// Started is an authorization request to send the browser to. Binding belongs
// in a cookie of this browser: the callback must bring it back.
type Started struct {
	URL       string
	Binding   seal.Secret
	AttemptID string
	ExpiresAt time.Time
}

// Start begins an attempt at a link: it makes state, nonce and PKCE verifier,
// decides on the prompt, and counts the attempt.
func (l *Links) Start(ctx context.Context, secret string, choice Choice) (Started, error) {
	link, m, err := l.bySecret(ctx, secret)
	if err != nil {
		return Started{}, err
	}
	if err := usable(link); err != nil {
		return Started{}, err
	}
	kind, reg, err := l.providers.Registration(ctx, m.Provider)
	if err != nil {
		return Started{}, err
	}
	force, prompt := decidePrompt(ctx, kind, reg, choice, link.LastAttempt)
	state, nonce, verifier, binding := newSecret(), newSecret(), oauth.NewCodeVerifier(), newSecret()
	hint := m.Principal()
	if prompt == provider.PromptOmit {
		hint = "" // the choice is left to the browser's sessions altogether; a hint would half take it back
	}
	address, err := kind.AuthorizationURL(ctx, reg, provider.AuthorizationRequest{
		State: state.Reveal(), Nonce: nonce.Reveal(), CodeChallenge: oauth.CodeChallenge(verifier),
		LoginHint: hint, Uses: m.Uses(), Profile: m.Profile, Force: force,
	})
	if err != nil {
		return Started{}, fmt.Errorf("make the authorization request: %w", err)
	}
	now := l.needs.Now().UTC()
	a := Attempt{
		ID: event.NewID(), LinkID: link.ID, MailboxID: m.ID,
		StateHash: digest(state.Reveal()), BindingHash: digest(binding.Reveal()),
		Prompt: string(prompt), Basis: basis(m, reg), CreatedAt: now, ExpiresAt: earlier(now.Add(attemptLife), link.ExpiresAt),
	}
	if a.Verifier, err = l.needs.Keys.Seal(verifier, seal.Where("attempt", a.ID, "verifier")); err != nil {
		return Started{}, fmt.Errorf("seal the code verifier: %w", err)
	}
	if a.Nonce, err = l.needs.Keys.Seal(nonce, seal.Where("attempt", a.ID, "nonce")); err != nil {
		return Started{}, fmt.Errorf("seal the nonce: %w", err)
	}
	e := event.New(now, event.AttemptStarted, event.Actor{Kind: event.ActorOwner}, attemptText(m, prompt)).
		About(m.ID, m.Address).With("link_id", link.ID).With("attempt_id", a.ID).With("prompt", string(prompt))
	if err := l.needs.Links.StartAttempt(ctx, a, now, e); err != nil {
		return Started{}, spentWords(err)
	}
	return Started{URL: address, Binding: binding, AttemptID: a.ID, ExpiresAt: a.ExpiresAt}, nil
}

func attemptText(m mailbox.Mailbox, prompt provider.Prompt) string {
	how := "are asked to sign in afresh"
	switch prompt {
	case provider.PromptSelectAccount:
		how = "are asked which account to use"
	case provider.PromptOmit:
		how = "may be taken from the browser's present sign-in, as this provider is set up (prompt: omit)"
	}
	return fmt.Sprintf("Somebody opened the authorization link for %s; they %s.", m.Address, how)
}

// decidePrompt gives what to force, for another attempt, and what is going to be
// sent in effect. There is always a decision. A prompt that the last attempt was
// refused for is not sent again: login is the one that every provider has to
// know, and omit, where the operator chose it since, sends none. Else the operator's own choice wins, but for omit, which would let the
// browser's session sign the same person in again; there the kind decides.
func decidePrompt(ctx context.Context, kind provider.Kind, reg provider.Registration, choice Choice, last *Outcome) (force, effective provider.Prompt) {
	switch {
	case last != nil && last.Cause == causePrompt && reg.Prompt == provider.PromptOmit:
		return "", provider.PromptOmit
	case last != nil && last.Cause == causePrompt:
		return provider.PromptLogin, provider.PromptLogin
	case choice.SelectAccount && (reg.Prompt == "" || reg.Prompt == provider.PromptOmit):
		if again := retryPrompt(ctx, kind, reg); again != reg.Prompt {
			return again, again
		}
	}
	if reg.Prompt != "" {
		return "", reg.Prompt
	}
	if prompts := kind.Traits().Prompts; len(prompts) > 0 {
		return "", prompts[0]
	}
	return "", provider.PromptLogin
}

// retryPrompt is the prompt of a guided retry: what the kind says, else the
// account picker where it has one, else login.
func retryPrompt(ctx context.Context, kind provider.Kind, reg provider.Registration) provider.Prompt {
	if k, ok := kind.(provider.RetryPrompt); ok {
		return k.RetryPrompt(ctx, reg)
	}
	if allows(kind, provider.PromptSelectAccount) {
		return provider.PromptSelectAccount
	}
	return provider.PromptLogin
}

func allows(kind provider.Kind, p provider.Prompt) bool {
	return slices.Contains(kind.Traits().Prompts, p)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// basis stands for the settings that a request is made from. An answer is taken
// only while they are the same: else a code, and the secret that redeems it,
// would go to another authorization server than the one that was asked (RFC
// 9700, 4.4), or come with another redirect URI.
func basis(m mailbox.Mailbox, reg provider.Registration) []byte {
	parts := []string{m.Address, m.Provider, string(m.ActsAs), m.Profile, reg.ID, reg.RedirectURI, string(secretPlace(reg.Record, ""))}
	for _, name := range slices.Sorted(maps.Keys(reg.Endpoints)) {
		parts = append(parts, name, reg.Endpoints[name])
	}
	for _, u := range m.Uses() {
		parts = append(parts, string(u))
	}
	return digest(string(seal.Where(parts...)))
}

// usable says in words why a link cannot be used any more.
func usable(link Link) error {
	switch {
	case link.State == LinkExpired:
		return errLinkExpired()
	case link.State == LinkCancelled:
		return errLinkCancelled()
	case link.State == LinkGranted:
		return errLinkGranted()
	case link.State != LinkPending || link.Attempts >= MaxAttempts:
		return errLinkUsedUp()
	}
	return nil
}
