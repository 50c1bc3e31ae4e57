package generic

import (
	"context"
	"fmt"
	"slices"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// subject keeps of a validated ID token what Identify needs.
func subject(c oauth.Claims, identityClaim string) provider.Subject {
	out := provider.Subject{
		Issuer: c.String("iss"), Subject: c.String("sub"), Name: fault.Shorten(c.String("name"), 200), Claims: map[string]string{},
	}
	for _, name := range []string{"email", "preferred_username", identityClaim} {
		if v := c.String(name); name != "" && v != "" && len(v) <= 320 {
			out.Claims[name] = v
		}
	}
	if c.Bool("email_verified") {
		out.Claims["email_verified"] = "true"
	}
	return out
}

// Identify says who signed in and proves their address: by the ID token, and
// where that proves none, by UserInfo.
func (k *Kind) Identify(ctx context.Context, reg provider.Registration, _ string, tokens provider.Tokens) (provider.Identity, provider.Tokens, error) {
	who := provider.Identity{Subject: tokens.Subject}
	who.Addresses, who.Unproven = prove(tokens.Subject.Claims, reg.IdentityClaim)
	who.Display = display(tokens.Subject)
	if len(who.Addresses) > 0 && (reg.IdentityClaim == "" || who.Addresses[0].Source == claimSource(reg.IdentityClaim)) {
		return who, provider.Tokens{}, nil
	}
	m, directory, err := k.metadata(ctx, reg)
	if err != nil {
		return provider.Identity{}, provider.Tokens{}, err
	}
	if m.UserInfoEndpoint == "" {
		return who, provider.Tokens{}, nil
	}
	claims, err := directory.UserInfo(ctx, m.UserInfoEndpoint, tokens.AccessToken, tokens.Subject.Subject)
	if err != nil {
		f := k.explain(err, m.UserInfoEndpoint, "issuer")
		if f.Kind == fault.Temporary || f.Kind == fault.Internal || f.ID == "oauth.bad_id_token" {
			return provider.Identity{}, provider.Tokens{}, f
		}
		if len(who.Addresses) == 0 {
			who.Unproven = "The ID token proves no address, and UserInfo gave no answer: " + f.Text
		}
		return who, provider.Tokens{}, nil
	}
	said := subject(claims, reg.IdentityClaim)
	if said.Name != "" {
		who.Name = said.Name
	}
	said.Subject, said.Name = tokens.Subject.Subject, who.Name
	more, unproven := prove(said.Claims, reg.IdentityClaim)
	for _, a := range who.Addresses {
		if !slices.ContainsFunc(more, func(b provider.IdentityAddress) bool { return b.Address == a.Address }) {
			a.Alias = len(more) > 0
			more = append(more, a)
		}
	}
	if who.Addresses, who.Unproven = more, ""; len(more) == 0 {
		who.Unproven = unproven
	}
	if d := display(said); d != said.Subject {
		who.Display = d
	}
	return who, provider.Tokens{}, nil
}

// claimSource names a claim that the operator vouches for.
func claimSource(name string) string { return "claim:" + name }

// prove reads the addresses out of claims; unproven says why there is none.
func prove(claims map[string]string, identityClaim string) (list []provider.IdentityAddress, unproven string) {
	if identityClaim != "" {
		if a, err := message.Address(claims[identityClaim]); err == nil {
			list = append(list, provider.IdentityAddress{Address: a, Source: claimSource(identityClaim)})
		}
	}
	email, err := message.Address(claims["email"])
	if err == nil && claims["email_verified"] == "true" && (len(list) == 0 || list[0].Address != email) {
		list = append(list, provider.IdentityAddress{Address: email, Source: "email_verified", Alias: len(list) > 0})
	}
	switch {
	case len(list) > 0:
		return list, ""
	case identityClaim != "":
		return nil, fmt.Sprintf("The claim %s, which holds the address by the provider's settings, is missing or is no mail address.", identityClaim)
	case claims["email"] == "":
		return nil, "The provider told no mail address. (Is the scope email asked for and allowed?)"
	case err != nil:
		return nil, "What the provider gives as mail address is none."
	}
	return nil, fmt.Sprintf("The provider names the address %s, but does not say that it is verified.", email)
}

// display is the name people know themselves by.
func display(s provider.Subject) string {
	for _, v := range []string{s.Claims["email"], s.Claims["preferred_username"], s.Name} {
		if v != "" {
			return fault.Shorten(v, 320)
		}
	}
	return s.Subject
}
