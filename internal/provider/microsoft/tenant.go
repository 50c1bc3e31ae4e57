package microsoft

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// tenant asks Entra about a tenant by ID, domain, or common and the like. The
// ID is read out of the issuer that the tenant's metadata names; it is empty
// where that is the placeholder of common and organizations.
func (k *Kind) tenant(ctx context.Context, reg provider.Registration, segment, field string) (oauth.Metadata, string, error) {
	_, directory, err := k.client(reg.Record)
	if err != nil {
		return oauth.Metadata{}, "", err
	}
	s := siteOf(reg.Record)
	at := s.authority + "/" + url.PathEscape(strings.ToLower(segment)) + "/v2.0/.well-known/openid-configuration"
	m, err := directory.At(ctx, at)
	if err != nil {
		f := k.explain(err, reg, at, s.setting)
		if unknown(err) {
			f.ID, f.Field, f.Text = "oauth.unknown_tenant", field, fmt.Sprintf("Microsoft knows no tenant “%s” in the cloud %s.", fault.Shorten(segment, 80), s.name)
		}
		return oauth.Metadata{}, "", f
	}
	id, ok := s.tenantID(m.Issuer)
	if !ok {
		return oauth.Metadata{}, "", &fault.Error{
			ID: "oauth.bad_metadata", Kind: fault.Refused, Field: s.setting,
			Text:   fmt.Sprintf("%s names an issuer that is not its own: %s.", at, fault.Shorten(m.Issuer, 200)),
			Who:    []fault.Who{fault.Operator},
			Remedy: "Check the cloud and the endpoint authority of the provider; what answers there is not the Entra ID that is meant.",
		}
	}
	return m, id, nil
}

// unknown reports whether Entra itself, and no gateway on the way, refused to
// describe the tenant.
func unknown(err error) bool {
	var m *oauth.MetadataError
	return errors.As(err, &m) && m.Refusal != nil && m.Refusal.Code != "" && !m.Refusal.Passing() &&
		(m.Status == http.StatusBadRequest || m.Status == http.StatusNotFound)
}

// tenantID reads the tenant out of an issuer of this authority, in lower case;
// empty for the placeholder.
func (s site) tenantID(issuer string) (id string, ok bool) {
	rest, found := strings.CutPrefix(strings.ToLower(issuer), strings.ToLower(s.authority)+"/")
	m := regexp.MustCompile(`^(\{tenantid\}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/v2\.0$`).FindStringSubmatch(rest)
	switch {
	case !found || m == nil:
		return "", false
	case strings.HasPrefix(m[1], "{"):
		return "", true
	}
	return m[1], true
}
