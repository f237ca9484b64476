package main

import (
	"context"
	"fmt"

	"github.com/rancher/lasso/pkg/cache"
	"github.com/rancher/lasso/pkg/client"
	"github.com/rancher/lasso/pkg/controller"
	"github.com/rancher/wrangler/v3/pkg/generic"
	"github.com/sirupsen/logrus"
	"k8s.io/client-go/rest"

	"github.com/harvester/harvester/pkg/config"
	"github.com/harvester/harvester/pkg/controller/global/settings"
	"github.com/harvester/harvester/pkg/controller/master/backup"
	"github.com/harvester/harvester/pkg/controller/master/image"
	"github.com/harvester/harvester/pkg/controller/master/virtualmachine"
	"github.com/harvester/harvester/pkg/indexeres"
)

const (
	harvesterNamespace = "harvester-system"
	workers            = 10
)

// runControllers is Harvester's manager with the controllers that a machine, its backup, its restore and its image meet, without
// those of a whole appliance (nodes, upgrades, networks, user interface).
func runControllers(stop context.Context, words []string) error {
	cluster, err := connection(words[0])
	if err != nil {
		return err
	}
	factory, err := sharedFactory(cluster)
	if err != nil {
		return err
	}
	ctx, scaled, err := config.SetupScaled(stop, cluster, &generic.FactoryOptions{SharedControllerFactory: factory})
	if err != nil {
		return fmt.Errorf("clients: %w", err)
	}
	options := config.Options{Namespace: harvesterNamespace, Threadiness: workers}
	// It also writes every Setting with its default.
	if err := settings.Register(ctx, scaled, nil, options); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if err := indexeres.Setup(ctx, nil, nil, options); err != nil {
		return fmt.Errorf("indexers: %w", err)
	}
	for _, register := range []func(context.Context, *config.Management, config.Options) error{
		virtualmachine.Register,
		backup.RegisterBackup,
		backup.RegisterBackupMetadata,
		backup.RegisterBackupTarget,
		backup.RegisterRestore,
		image.Register,
	} {
		if err := register(ctx, scaled.Management, options); err != nil {
			return fmt.Errorf("controllers: %w", err)
		}
	}
	if err := scaled.Management.Start(options.Threadiness); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	logrus.Info("controllers started")
	<-stop.Done()
	return nil
}

func sharedFactory(cluster *rest.Config) (controller.SharedControllerFactory, error) {
	clients, err := client.NewSharedClientFactory(cluster, nil)
	if err != nil {
		return nil, fmt.Errorf("clients: %w", err)
	}
	return controller.NewSharedControllerFactory(cache.NewSharedCachedFactory(clients, nil), nil), nil
}
