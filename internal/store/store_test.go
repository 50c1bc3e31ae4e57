package store_test

import (
	"testing"

	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/store/storetest"
	"github.com/mailgrant/mailgrant/internal/testbed"
)

func TestStore_SQLite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) *store.Store { return storetest.OpenSQLite(t) })
}

func TestStore_PostgreSQL(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("PostgreSQL is left out of short runs")
	}
	server := testbed.StartPostgres(t)
	storetest.Run(t, func(t *testing.T) *store.Store { return storetest.OpenAt(t, server.NewDatabase(t)) })
}
