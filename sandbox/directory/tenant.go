package directory

import (
	"slices"
	"strings"
)

// Consent says who may consent to an app's permissions in a tenant.
type Consent string

// The settings for user consent.
const (
	ConsentByUser    Consent = ""         // every user may consent for themselves
	ConsentByAdmin   Consent = "admin"    // only an administrator may: AADSTS90094
	ConsentByRequest Consent = "workflow" // users may ask an administrator: AADSTS90095
)

// Tenant is an organisation in the directory.
type Tenant struct {
	// ID is the tenant's GUID, in lower case.
	ID string `json:"id"`
	// Name is what people call the organisation.
	Name string `json:"name"`
	// Domains are its verified domains, the default one first.
	Domains []string `json:"domains"`
	// UserConsent says who may consent here.
	UserConsent Consent `json:"user_consent,omitempty"`
}

func (t Tenant) clone() Tenant {
	t.Domains = slices.Clone(t.Domains)
	return t
}

// Tenant finds a tenant by its GUID or one of its verified domains, without regard to case.
func (w *World) Tenant(nameOrID string) (Tenant, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.findTenant(nameOrID)
}

// Tenants lists the tenants in the order of the story.
func (w *World) Tenants() []Tenant {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]Tenant, 0, len(w.tenants))
	for _, t := range w.tenants {
		out = append(out, t.clone())
	}
	return out
}

// SetUserConsent changes who may consent in a tenant.
func (w *World) SetUserConsent(tenantID string, consent Consent) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.tenants {
		if strings.EqualFold(w.tenants[i].ID, tenantID) {
			w.tenants[i].UserConsent = consent
			return nil
		}
	}
	return unknown("tenant", tenantID)
}

func (w *World) findTenant(nameOrID string) (Tenant, bool) {
	for _, t := range w.tenants {
		if strings.EqualFold(t.ID, nameOrID) || slices.ContainsFunc(t.Domains, func(d string) bool { return strings.EqualFold(d, nameOrID) }) {
			return t.clone(), true
		}
	}
	return Tenant{}, false
}
