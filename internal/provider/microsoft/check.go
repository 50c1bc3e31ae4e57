package microsoft

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/provider"
)

func isGUID(s string) bool {
	return regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`).MatchString(s)
}

func isDomain(s string) bool {
	return len(s) <= 253 && regexp.MustCompile(`^([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?\.)+[a-zA-Z]{2,63}$`).MatchString(s)
}

func invalid(field, text, remedy string) error {
	return &fault.Error{
		ID: "provider.invalid", Kind: fault.Invalid, Field: field, Text: text,
		Who: []fault.Who{fault.Operator}, Remedy: remedy,
	}
}

// Check finds contradictions in a record.
func (k *Kind) Check(r provider.Record) error {
	return errors.Join(slices.Concat(k.checkIdentity(r), k.checkChoices(r), k.checkEndpoints(r), provider.CheckProfiles(r))...)
}

func (k *Kind) checkIdentity(r provider.Record) (found []error) {
	switch t := strings.ToLower(r.Tenant); {
	case t == "":
		found = append(found, invalid("tenant", "A provider of kind microsoft needs a tenant.",
			"Give the tenant's domain (contoso.onmicrosoft.com) or its ID; common and organizations only for an app that is registered for several tenants."))
	case !isGUID(t) && !isDomain(t) && !multiTenant(t):
		found = append(found, invalid("tenant", fmt.Sprintf("“%s” is neither a tenant ID nor a domain.", fault.Shorten(r.Tenant, 80)),
			"Give the tenant's domain, its ID (8-4-4-4-12 hexadecimal digits), or common, organizations or consumers."))
	}
	switch {
	case r.ClientID == "":
		found = append(found, invalid("client_id", "The client ID is missing.", "Copy the Application (client) ID from the app registration's overview page."))
	case !isGUID(r.ClientID):
		found = append(found, invalid("client_id", "The client ID is not one of Microsoft's: those are 8-4-4-4-12 hexadecimal digits.",
			"Copy the Application (client) ID from the app registration's overview page."))
	}
	if r.Issuer != "" {
		found = append(found, invalid("issuer", "issuer does not apply to kind microsoft: it follows from tenant and cloud.", "Remove issuer."))
	}
	if r.IdentityClaim != "" {
		found = append(found, invalid("identity_claim", "identity_claim does not apply to kind microsoft: addresses are proved by tenant and directory.", "Remove identity_claim."))
	}
	if r.RedirectURI != "" {
		if why := oauth.CheckURL(r.RedirectURI); why != "" {
			found = append(found, invalid("redirect_uri", "The redirect URI "+why+".", "Write it exactly as it is registered, or leave it out."))
		}
	}
	return found
}

func (k *Kind) checkChoices(r provider.Record) (found []error) {
	traits := k.Traits()
	if r.Cloud != "" && !slices.Contains(traits.Clouds, r.Cloud) {
		found = append(found, invalid("cloud", fmt.Sprintf("There is no cloud named “%s”.", fault.Shorten(r.Cloud, 80)), "Use one of "+strings.Join(traits.Clouds, ", ")+"."))
	}
	if r.Prompt != "" && !slices.Contains(traits.Prompts, r.Prompt) {
		found = append(found, invalid("authorize.prompt", fmt.Sprintf("“%s” is not a prompt of this kind.", fault.Shorten(string(r.Prompt), 80)),
			"Use login (the default), select_account or omit."))
	}
	return found
}

func (k *Kind) checkEndpoints(r provider.Record) (found []error) {
	for name, value := range r.Endpoints {
		field := "endpoints." + name
		switch name {
		case endpointAuthority, endpointGraph:
			why := oauth.CheckURL(value)
			if u, err := url.Parse(value); why == "" && err == nil && (u.RawQuery != "" || strings.Trim(u.Path, "/") != "") {
				why = "must be a base URL without path"
			}
			if why != "" {
				found = append(found, invalid(field, "The address “"+fault.Shorten(value, 80)+"” "+why+".", "Correct or remove "+field+"."))
			}
		case endpointIMAP, endpointPOP3, endpointSMTP:
			if _, _, _, why := provider.ParseMailHost(value); why != "" {
				found = append(found, invalid(field, "The address “"+fault.Shorten(value, 80)+"” "+why+".", "Correct or remove "+field+"."))
			}
		default:
			found = append(found, invalid(field, "There is no endpoint named “"+fault.Shorten(name, 40)+"” to override.",
				"Use one of "+strings.Join(k.Traits().Endpoints, ", ")+"."))
		}
	}
	return found
}

// Verify asks Microsoft whether the tenant exists, and, in a single tenant,
// whether it knows the app and takes the client secret.
func (k *Kind) Verify(ctx context.Context, reg provider.Registration) error {
	if err := k.Check(reg.Record); err != nil {
		return err
	}
	if _, _, err := k.tenant(ctx, reg, reg.Tenant, "tenant"); err != nil {
		return err
	}
	if multiTenant(reg.Tenant) || len(reg.ClientSecrets) == 0 {
		return nil // nobody can be asked without a person
	}
	s := siteOf(reg.Record)
	endpoint, err := k.tokenEndpoint(reg, reg.Tenant)
	if err != nil {
		return err
	}
	_, err = endpoint.ClientCredentials(ctx, []string{s.graphScope + "/.default"})
	var refused *oauth.Error
	if errors.As(err, &refused) && !refused.Passing() && refused.Code != "invalid_client" && refused.Code != "unauthorized_client" {
		return nil // the app and its secret were accepted; what the app may do by itself is not the question
	}
	if err != nil {
		return k.explain(err, reg, endpoint.URL, s.setting)
	}
	return nil
}
