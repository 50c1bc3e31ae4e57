package directory

import (
	"crypto/subtle"
	"slices"
	"strings"
	"time"
)

// ClientSecret is one secret of an app registration.
type ClientSecret struct {
	// ID is the "Secret ID" that people paste by mistake.
	ID    string `json:"id"`
	Value string `json:"value"`
	// EndsAt is when the secret stops working; zero means never.
	EndsAt time.Time `json:"ends_at,omitzero"`
}

// Registration is an app registration.
type Registration struct {
	// TenantID is the tenant in which the app was registered.
	TenantID string `json:"tenant_id"`
	ClientID string `json:"client_id"`
	Name     string `json:"name"`
	// Public clients have no secret and must not send one.
	Public bool `json:"public,omitempty"`
	// MultiTenant apps can be used by every tenant and under `common` and `organizations`.
	MultiTenant bool           `json:"multi_tenant,omitempty"`
	Secrets     []ClientSecret `json:"secrets,omitempty"`
	// RedirectURIs must be met exactly, letter by letter.
	RedirectURIs []string `json:"redirect_uris"`
	// AdminConsented are the delegated permissions, as full scopes, that an administrator granted for the home tenant.
	AdminConsented []string `json:"admin_consented,omitempty"`
	// AppRoles are the application permissions, as full scopes, for client_credentials.
	AppRoles []string `json:"app_roles,omitempty"`
	// ServicePrincipalID is the app's own object id in its home tenant.
	ServicePrincipalID string `json:"service_principal_id,omitempty"`
	// Disabled apps cannot be signed in to (AADSTS7000112).
	Disabled bool `json:"disabled,omitempty"`
}

func (r Registration) clone() Registration {
	r.Secrets = slices.Clone(r.Secrets)
	r.RedirectURIs = slices.Clone(r.RedirectURIs)
	r.AdminConsented = slices.Clone(r.AdminConsented)
	r.AppRoles = slices.Clone(r.AppRoles)
	return r
}

// HasSecretID says whether text is the id, not the value, of one of the app's secrets.
func (r Registration) HasSecretID(text string) bool {
	return slices.ContainsFunc(r.Secrets, func(s ClientSecret) bool { return s.ID == text })
}

// Secret finds the app's secret with this value.
func (r Registration) Secret(value string) (ClientSecret, bool) {
	for _, s := range r.Secrets {
		if subtle.ConstantTimeCompare([]byte(s.Value), []byte(value)) == 1 {
			return s, true
		}
	}
	return ClientSecret{}, false
}

// Registration finds an app by its client id.
func (w *World) Registration(clientID string) (Registration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.registrations {
		if strings.EqualFold(r.ClientID, clientID) {
			return r.clone(), true
		}
	}
	return Registration{}, false
}

// Registrations lists the apps in the order of the story.
func (w *World) Registrations() []Registration {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]Registration, 0, len(w.registrations))
	for _, r := range w.registrations {
		out = append(out, r.clone())
	}
	return out
}

// ExpireSecrets ends every secret that the app has now (AADSTS7000222 from here on).
func (w *World) ExpireSecrets(clientID string) error {
	return w.changeRegistration(clientID, func(r *Registration, now time.Time) {
		for i := range r.Secrets {
			r.Secrets[i].EndsAt = now
		}
	})
}

// AddSecret gives the app one more secret and returns it. A zero endsAt means that it never ends.
func (w *World) AddSecret(clientID string, endsAt time.Time) (ClientSecret, error) {
	secret := ClientSecret{ID: newGUID(), Value: "sandbox~" + RandomText(), EndsAt: endsAt}
	return secret, w.changeRegistration(clientID, func(r *Registration, _ time.Time) { r.Secrets = append(r.Secrets, secret) })
}

// AddRedirectURI registers one more redirect URI with the app.
func (w *World) AddRedirectURI(clientID, redirectURI string) error {
	return w.changeRegistration(clientID, func(r *Registration, _ time.Time) {
		if !slices.Contains(r.RedirectURIs, redirectURI) {
			r.RedirectURIs = append(r.RedirectURIs, redirectURI)
		}
	})
}

// SetAdminConsent replaces the permissions that the administrator of the app's home tenant granted.
func (w *World) SetAdminConsent(clientID string, scopes []string) error {
	return w.changeRegistration(clientID, func(r *Registration, _ time.Time) { r.AdminConsented = slices.Clone(scopes) })
}

// SetRegistrationDisabled forbids sign-in to the app, or allows it again.
func (w *World) SetRegistrationDisabled(clientID string, disabled bool) error {
	return w.changeRegistration(clientID, func(r *Registration, _ time.Time) { r.Disabled = disabled })
}

func (w *World) changeRegistration(clientID string, change func(*Registration, time.Time)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.registrations {
		if strings.EqualFold(w.registrations[i].ClientID, clientID) {
			change(&w.registrations[i], w.timestamp())
			return nil
		}
	}
	return unknown("app registration", clientID)
}

// consentKey names a consent: an app in a tenant, for one user or, with an empty objectID, for everybody.
type consentKey struct{ clientID, tenantID, objectID string }

// Consented lists the scopes the app may use for the user: those consented by the user, for the user's whole tenant, and, in the
// app's home tenant, those an administrator granted when the app was registered.
func (w *World) Consented(clientID string, user User) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	clientID = strings.ToLower(clientID)
	out := slices.Clone(w.consents[consentKey{clientID, user.TenantID, user.ObjectID}])
	out = append(out, w.consents[consentKey{clientID, user.TenantID, ""}]...)
	for _, r := range w.registrations {
		if strings.EqualFold(r.ClientID, clientID) && r.TenantID == user.TenantID {
			out = append(out, r.AdminConsented...)
		}
	}
	return out
}

// GrantConsent records the user's consent, or the whole tenant's.
func (w *World) GrantConsent(clientID string, user User, wholeTenant bool, scopes []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := consentKey{strings.ToLower(clientID), user.TenantID, user.ObjectID}
	if wholeTenant {
		key.objectID = ""
	}
	for _, scope := range scopes {
		if !slices.Contains(w.consents[key], scope) {
			w.consents[key] = append(w.consents[key], scope)
		}
	}
}

// WithdrawConsents forgets every consent to the app, the administrator's included (AADSTS65001 at the next refresh).
func (w *World) WithdrawConsents(clientID string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := false
	for i := range w.registrations {
		if strings.EqualFold(w.registrations[i].ClientID, clientID) {
			w.registrations[i].AdminConsented = nil
			found = true
		}
	}
	if !found {
		return unknown("app registration", clientID)
	}
	for key := range w.consents {
		if strings.EqualFold(key.clientID, clientID) {
			delete(w.consents, key)
		}
	}
	return nil
}
