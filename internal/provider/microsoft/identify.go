package microsoft

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mailgrant/mailgrant/internal/egress"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Identify says who signed in and proves their addresses: by preferred_username
// and upn of the ID token, then, where none of these is the mailbox's, by Graph.
// In another tenant than that of the mailbox's domain nothing is proved and
// nobody is asked.
func (k *Kind) Identify(ctx context.Context, reg provider.Registration, mailboxAddress string, tokens provider.Tokens) (provider.Identity, provider.Tokens, error) {
	who := provider.Identity{Subject: tokens.Subject, Display: display(tokens.Subject)}
	foreign, err := k.foreign(ctx, reg, message.Domain(mailboxAddress), tokens.Subject.TenantID)
	if err != nil {
		return provider.Identity{}, provider.Tokens{}, err
	}
	if who.Foreign = foreign; foreign != "" {
		return who, provider.Tokens{}, nil
	}
	if why := guest(tokens.Subject); why != "" {
		who.Unproven = why
		return who, provider.Tokens{}, nil
	}
	for _, claim := range []string{"preferred_username", "upn"} {
		who.Addresses = add(who.Addresses, tokens.Subject.Claims[claim], claim, who.Display)
	}
	if slices.ContainsFunc(who.Addresses, func(a provider.IdentityAddress) bool { return message.SameAddress(a.Address, mailboxAddress) }) {
		return who, provider.Tokens{}, nil
	}
	return k.identifyByGraph(ctx, reg, who, tokens.RefreshToken)
}

// display is the name people know themselves by.
func display(s provider.Subject) string {
	for _, v := range []string{s.Claims["preferred_username"], s.Claims["upn"], s.Name} {
		if v != "" {
			return fault.Shorten(v, 320)
		}
	}
	return s.ObjectID
}

// add appends an address once; what is no address is passed over.
func add(list []provider.IdentityAddress, address, source, display string) []provider.IdentityAddress {
	normal, err := message.Address(address)
	if err != nil || slices.ContainsFunc(list, func(a provider.IdentityAddress) bool { return a.Address == normal }) {
		return list
	}
	return append(list, provider.IdentityAddress{Address: normal, Source: source, Alias: !message.SameAddress(normal, display)})
}

// guestText says why a guest's addresses prove nothing: they come from
// elsewhere, and the tenant vouches for none.
const guestText = "They are a guest in the tenant: their addresses come from another organisation, and this tenant does not vouch for them."

// guest gives guestText where the ID token shows a guest, else nothing.
func guest(s provider.Subject) string {
	idp := strings.ToLower(s.Claims["idp"])
	own := idp == "" || strings.Contains(idp, s.TenantID)
	if own && s.Claims["acct"] != "1" && !strings.Contains(strings.ToUpper(s.Claims["upn"]), "#EXT#") {
		return ""
	}
	return guestText
}

// foreign compares the tenant who signed in with the one that owns the
// mailbox's domain; the answer is a sentence, empty where they are the same.
func (k *Kind) foreign(ctx context.Context, reg provider.Registration, domain, tenantID string) (string, error) {
	_, owner, err := k.tenant(ctx, reg, domain, "address")
	if fault.Has(err, "oauth.unknown_tenant") {
		return fmt.Sprintf("The domain %s belongs to no tenant of Microsoft's cloud %s, so nobody there can prove to own an address in it.", domain, siteOf(reg.Record).name), nil
	}
	if err != nil {
		return "", err
	}
	if owner == "" || owner != tenantID {
		return fmt.Sprintf("They signed in to the tenant %s, but the domain %s belongs to the tenant %s.", tenantID, domain, owner), nil
	}
	return "", nil
}

// identifyByGraph takes a second access token and asks Graph for the mailbox's
// addresses. A refusal leaves what is proved already; a failure that may pass
// is returned, because it decides nothing.
func (k *Kind) identifyByGraph(ctx context.Context, reg provider.Registration, who provider.Identity, refreshToken seal.Secret) (provider.Identity, provider.Tokens, error) {
	if refreshToken.IsZero() {
		return unread(who, nil), provider.Tokens{}, nil
	}
	s := siteOf(reg.Record)
	resource := provider.Resource{Name: provider.ResourceGraph, Scopes: []string{s.graphScope + "/User.Read"}}
	second, err := k.Refresh(ctx, reg, refreshToken, resource)
	if err != nil {
		f := fault.Of(err)
		if f.Kind == fault.Temporary || f.Kind == fault.Internal {
			return provider.Identity{}, second, err
		}
		return unread(who, f), second, nil
	}
	me, err := k.me(ctx, reg, second.AccessToken)
	if err != nil {
		f := fault.Of(err)
		if f.Kind == fault.Temporary || f.Kind == fault.Internal {
			return provider.Identity{}, second, err
		}
		return unread(who, f), second, nil
	}
	if !strings.EqualFold(me.ID, who.ObjectID) {
		return provider.Identity{}, second, &fault.Error{
			ID: "identity.other_person", Kind: fault.Refused, Text: "Graph speaks of another person than the one who signed in.",
			Who: []fault.Who{fault.MailboxOwner}, Remedy: "Nothing was stored. Sign out at Microsoft and start again from the link.",
		}
	}
	if strings.Contains(strings.ToUpper(me.UserPrincipalName), "#EXT#") {
		who.Addresses, who.Unproven = nil, guestText
		return who, second, nil
	}
	who.Addresses = add(who.Addresses, me.UserPrincipalName, "graph_user_principal_name", who.Display)
	for _, proxy := range me.ProxyAddresses[:min(len(me.ProxyAddresses), 500)] {
		if scheme, address, ok := strings.Cut(proxy, ":"); ok && strings.EqualFold(scheme, "smtp") {
			who.Addresses = add(who.Addresses, address, "graph_proxy_address", who.Display)
		}
	}
	if len(who.Addresses) == 0 {
		who.Unproven = "Their directory entry holds no address."
	}
	return who, second, nil
}

// unread says that Graph did not tell the addresses, and what it refused with;
// nil: it could not be asked for want of a refresh token.
func unread(who provider.Identity, why *fault.Error) provider.Identity {
	f := &fault.Error{
		ID: "identity.unread", Kind: fault.Refused, Who: []fault.Who{fault.TenantAdmin, fault.AppOwner},
		Text:   "Microsoft Graph, which knows them, could not be asked, because Microsoft gave no refresh token.",
		Remedy: "See to it that the app may be given the scope offline_access, and start again.",
	}
	switch {
	case why == nil:
	case why.Field != "": // a setting of ours leads to something that is not Graph
		f.Text, f.Who, f.Remedy, f.Err = why.Text, why.Who, why.Remedy, why
	default:
		f.Text = "Microsoft Graph, which knows them, gave no access. " + why.Text
		f.Remedy = "Grant the app the delegated permission User.Read of Microsoft Graph, have it consented to, and start again. " +
			"If it has that permission, a Conditional Access policy may block Graph: the sign-in log says so."
		f.Detail, f.Err = why.Detail, why
	}
	if who.Unread = f; len(who.Addresses) == 0 {
		who.Unproven = "Their addresses could not be read. " + f.Text
	}
	return who
}

// user is what Graph says of the person behind an access token. The attribute
// mail is not read: a directory may hold any address there, a team's for example,
// while proxyAddresses are unique and of verified domains.
type user struct {
	ID                string   `json:"id"`
	UserPrincipalName string   `json:"userPrincipalName"`
	ProxyAddresses    []string `json:"proxyAddresses"`
}

// me asks Graph. proxyAddresses comes only where it is selected.
func (k *Kind) me(ctx context.Context, reg provider.Registration, accessToken seal.Secret) (user, error) {
	client, _, err := k.client(reg.Record)
	if err != nil {
		return user{}, err
	}
	s := siteOf(reg.Record)
	at := s.graph + "/v1.0/me?" + url.Values{"$select": {"id,userPrincipalName,proxyAddresses"}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return user{}, fmt.Errorf("ask Graph: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+accessToken.Reveal())
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return user{}, k.explain(err, reg, s.graph, "endpoints.graph")
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := egress.ReadAll(ctx, resp.Body, 1<<20)
	if err != nil {
		return user{}, k.explain(err, reg, s.graph, "endpoints.graph")
	}
	if resp.StatusCode != http.StatusOK {
		return user{}, k.graphRefusal(resp, raw)
	}
	var u user
	if err := json.Unmarshal(raw, &u); err != nil || u.ID == "" {
		return user{}, &fault.Error{
			ID: "graph.bad_answer", Kind: fault.Refused, Field: "endpoints.graph", Text: "The answer of Graph is not the JSON document that /me gives.",
			Who: []fault.Who{fault.Operator}, Remedy: "Check the endpoint graph of the provider.", Err: errors.Join(err),
		}
	}
	return u, nil
}

// graphRefusal reads Graph's error form.
func (k *Kind) graphRefusal(resp *http.Response, raw []byte) error {
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	_ = json.Unmarshal(raw, &body) // where it is none, the status speaks
	f := &fault.Error{
		ID: "graph.refused", Kind: fault.Refused, Text: fmt.Sprintf("Graph refused with HTTP status %d.", resp.StatusCode),
		Who:    []fault.Who{fault.TenantAdmin, fault.AppOwner},
		Remedy: "Grant the app the delegated permission User.Read of Microsoft Graph, and check whether a Conditional Access policy blocks Graph.",
		Detail: fault.Detail{
			Code: fault.Shorten(body.Error.Code, 100), Reply: fault.Shorten(body.Error.Message, 500), CorrelationID: fault.Shorten(resp.Header.Get("Request-Id"), 100),
		},
	}
	if (&oauth.Error{Status: resp.StatusCode}).Passing() {
		f.ID, f.Kind, f.Retry, f.Who = "graph.unavailable", fault.Temporary, true, []fault.Who{fault.Provider}
		f.RetryAfter = egress.RetryAfter(resp.Header.Get("Retry-After"), k.now())
		f.Remedy = "Nothing has to be done; Graph is asked again."
	}
	return f
}
