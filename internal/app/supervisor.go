package app

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// The service manager is told, where there is one (sd_notify, by the socket that
// it names in NOTIFY_SOCKET), when the server is ready, that it is alive, and
// that it ends. Without one nothing happens.

// tellReady says that calls are served from now on.
func (a *App) tellReady() {
	a.tell(fmt.Sprintf("%s\nSTATUS=Serving %s", daemon.SdNotifyReady, a.cfg.PublicURL))
}

// tellStopping says that the server drains; what is under way may take as long
// as drainTime.
func (a *App) tellStopping() {
	a.tell(fmt.Sprintf("%s\nSTATUS=Draining\nEXTEND_TIMEOUT_USEC=%d", daemon.SdNotifyStopping, (drainTime + 10*time.Second).Microseconds()))
}

// keepAlive tells the manager's watchdog that this process still runs, twice in
// the time that it allows (WATCHDOG_USEC).
func (a *App) keepAlive(ctx context.Context) error {
	allowed, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		a.log.WarnContext(ctx, "the service manager's watchdog is not fed", "error", err)
	}
	if err != nil || allowed == 0 {
		return nil
	}
	tick := time.NewTicker(allowed / 2)
	defer tick.Stop()
	for {
		a.tell(daemon.SdNotifyWatchdog)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (a *App) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		a.log.Warn("tell the service manager", "error", err)
	}
}
