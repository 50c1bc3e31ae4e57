package web

import (
	"maps"
	"sync"
	"time"

	"github.com/mailgrant/mailgrant/internal/provider"
)

// verdicts keeps what providers said when they were last verified, for the pages
// that are looked at next: to verify is a POST, to look changes nothing.
type verdicts struct {
	mu   sync.Mutex
	last map[string]pastVerdict // by the provider's ID
}

type pastVerdict struct {
	verdictView
	version int64 // of the provider that was verified
	at      time.Time
}

// verdictLife is how long a verdict is shown.
const verdictLife = 10 * time.Minute

func (v *verdicts) keep(r provider.Record, what verdictView, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.last == nil {
		v.last = map[string]pastVerdict{}
	}
	maps.DeleteFunc(v.last, func(_ string, old pastVerdict) bool { return now.Sub(old.at) > verdictLife })
	v.last[r.ID] = pastVerdict{what, r.Version, now}
}

// of gives the verdict on these settings; nil where there is none of late.
func (v *verdicts) of(r provider.Record, now time.Time) *verdictView {
	v.mu.Lock()
	defer v.mu.Unlock()
	last, ok := v.last[r.ID]
	if !ok || last.version != r.Version || now.Sub(last.at) > verdictLife {
		return nil
	}
	return &last.verdictView
}
