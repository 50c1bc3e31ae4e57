package connect_test

import (
	"testing"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

func TestStart_DecidesOnPrompt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	secret, _ := b.link(connect.LinkOptions{})
	if _, err := b.Links.Start(b.ctx, secret, connect.Choice{SelectAccount: true}); err != nil {
		t.Fatal(err)
	}
	if got := b.idp.asked[0].Force; got != provider.PromptSelectAccount {
		t.Errorf("a guided retry forces %q", got)
	}
	b.start(secret)
	if got := b.idp.asked[1].Force; got != "" {
		t.Errorf("a plain start forces %q", got)
	}
	s := contoso()
	s.Record.Prompt = provider.PromptOmit
	if _, _, err := b.Providers.Save(b.ctx, s, operator); err != nil {
		t.Fatal(err)
	}
	b.start(secret)
	if hint := b.idp.asked[2].LoginHint; hint != "" || b.idp.asked[1].LoginHint != desk {
		t.Errorf("login_hint %q where the choice is left to the browser, %q by default", hint, b.idp.asked[1].LoginHint)
	}
	if a, c := b.idp.asked[0], b.idp.asked[1]; a.State == c.State || a.Nonce == c.Nonce || a.CodeChallenge == c.CodeChallenge {
		t.Error("two attempts share a secret")
	}
}

// A provider that has no account picker refuses a request that asks for it
// (OpenID Connect Core, 3.1.2.6): the next attempt does not ask again.
func TestStart_AfterARefusedPrompt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	secret, id := b.link(connect.LinkOptions{})
	cb := b.startAs(secret, connect.Choice{SelectAccount: true})
	cb.Error, cb.ErrorDescription, cb.Code = "invalid_request", "unsupported prompt value requested", seal.Secret{}
	r, err := b.Links.Finish(b.ctx, cb)
	wantFault(t, err, "oauth.prompt_refused")
	if r.Reply != "invalid_request; unsupported prompt value requested" {
		t.Errorf("the provider's words are %q", r.Reply)
	}
	if !r.RetryAllowed || r.AttemptsLeft != connect.MaxAttempts {
		t.Errorf("the attempt counted: %+v", r)
	}
	if link, _, err := b.Links.Status(b.ctx, id); err != nil || link.Attempts != 0 {
		t.Errorf("%d attempts counted, %v", link.Attempts, err)
	}
	b.startAs(secret, connect.Choice{SelectAccount: true})
	if got := b.idp.asked[1].Force; got != provider.PromptLogin {
		t.Errorf("the next attempt forces %q, want login", got)
	}
	// What the remedy names for a provider that refuses that too.
	s := contoso()
	s.Record.Prompt = provider.PromptOmit
	if _, _, err := b.Providers.Save(b.ctx, s, operator); err != nil {
		t.Fatal(err)
	}
	b.startAs(secret, connect.Choice{SelectAccount: true})
	if got := b.idp.asked[2].Force; got != "" {
		t.Errorf("prompt: omit is overridden by %q", got)
	}
}

func TestStart_TheOperatorsPromptWins(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := contoso()
	s.Record.Prompt = provider.PromptLogin
	if _, _, err := b.Providers.Save(b.ctx, s, operator); err != nil {
		t.Fatal(err)
	}
	secret, _ := b.link(connect.LinkOptions{})
	b.startAs(secret, connect.Choice{SelectAccount: true})
	if got := b.idp.asked[0].Force; got != "" {
		t.Errorf("prompt: login is overridden by %q", got)
	}
}
