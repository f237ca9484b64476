package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"unsafe"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	api "github.com/longhorn/longhorn-manager/client"
	"github.com/longhorn/longhorn-manager/csi"
	longhorn "github.com/longhorn/longhorn-manager/k8s/pkg/apis/longhorn/v1beta2"
	"github.com/longhorn/longhorn-manager/k8s/pkg/client/clientset/versioned"
	typed "github.com/longhorn/longhorn-manager/k8s/pkg/client/clientset/versioned/typed/longhorn/v1beta2"
)

const (
	longhornNamespace = "longhorn-system"
	longhornDriver    = "driver.longhorn.io"
	longhornVersion   = "v1.10.0"
	longhornNode      = "node-1"

	finalizer           = "longhorn.io"
	labelOfVolume       = "longhornvolume"
	labelOfBackupVolume = "backup-volume"

	ignored = "ignored" // of many fields: the cluster's setting decides
)

// serveLonghorn is Longhorn's own CSI controller. longhorn-manager, whose REST API it calls, cannot be built here, so
// the calls that it makes go to the custom resources directly (the types below); what the manager's controllers and
// engines would then do to those is the data plane's, local/simulation/longhorn.py.
func serveLonghorn(_ context.Context, words []string) error {
	socket, kubeconfig := words[0], words[1]
	cluster, err := connection(kubeconfig)
	if err != nil {
		return err
	}
	clients, err := versioned.NewForConfig(cluster)
	if err != nil {
		return fmt.Errorf("clients: %w", err)
	}
	resources := clients.LonghornV1beta2()
	manager := &api.RancherClient{
		Volume:       volumes{resources: resources},
		BackupVolume: backupVolumes{resources: resources},
		BackupTarget: backupTargets{resources: resources},
		BackingImage: backingImages{resources: resources},
	}
	if err := os.RemoveAll(socket); err != nil {
		return err
	}
	server := csi.NewNonBlockingGRPCServer()
	identity := csi.NewIdentityServer(longhornDriver, longhornVersion)
	server.Start("unix://"+socket, identity, newController(manager, clients), nil)
	server.Wait()
	return nil
}

// newController does what csi.NewControllerServer does but for its clients, which that one takes from the pod that it
// runs in; there is no other way to set them.
func newController(manager *api.RancherClient, clients versioned.Interface) *csi.ControllerServer {
	made := &csi.ControllerServer{}
	set(made, "apiClient", manager)
	set(made, "nodeID", longhornNode)
	set(made, "caps", capabilities())
	set(made, "accessModes", []*spec.VolumeCapability_AccessMode{
		{Mode: spec.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		{Mode: spec.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER},
	})
	set(made, "log", logrus.StandardLogger().WithField("component", "csi-controller-server"))
	set(made, "lhClient", clients)
	set(made, "lhNamespace", longhornNamespace)
	return made
}

func capabilities() []*spec.ControllerServiceCapability {
	var all []*spec.ControllerServiceCapability
	for _, each := range []spec.ControllerServiceCapability_RPC_Type{
		spec.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		spec.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME,
		spec.ControllerServiceCapability_RPC_EXPAND_VOLUME,
		spec.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		spec.ControllerServiceCapability_RPC_CLONE_VOLUME,
		spec.ControllerServiceCapability_RPC_GET_CAPACITY,
	} {
		kind := &spec.ControllerServiceCapability_RPC{Type: each}
		all = append(all, &spec.ControllerServiceCapability{
			Type: &spec.ControllerServiceCapability_Rpc{Rpc: kind},
		})
	}
	return all
}

func set(target any, field string, value any) {
	one := reflect.ValueOf(target).Elem().FieldByName(field)
	reflect.NewAt(one.Type(), unsafe.Pointer(one.UnsafeAddr())).Elem().Set(reflect.ValueOf(value))
}

// volumes is the manager's API of volumes, as far as the CSI controller calls it for claims, restores and backups.
type volumes struct {
	api.VolumeOperations
	resources typed.LonghornV1beta2Interface
}

func (v volumes) ById(id string) (*api.Volume, error) {
	found, err := v.resources.Volumes(longhornNamespace).Get(context.Background(), id, meta.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &api.Volume{
		Resource:         api.Resource{Id: found.Name},
		Name:             found.Name,
		Size:             strconv.FormatInt(found.Spec.Size, 10),
		State:            string(found.Status.State),
		Frontend:         string(found.Spec.Frontend),
		AccessMode:       string(found.Spec.AccessMode),
		Migratable:       found.Spec.Migratable,
		BackupTargetName: found.Spec.BackupTargetName,
		BackingImage:     found.Spec.BackingImage,
		DataEngine:       string(found.Spec.DataEngine),
		FromBackup:       found.Spec.FromBackup,
		RestoreRequired:  found.Status.RestoreRequired,
		Ready:            !found.Status.RestoreRequired,
	}, nil
}

// Create is also Longhorn's mutating webhook of volumes: it takes size and backing image from the backup, and fills in
// what the kind's enumerations have no empty value for (webhook/resources/volume/mutator.go).
func (v volumes) Create(wanted *api.Volume) (*api.Volume, error) {
	size, err := strconv.ParseInt(wanted.Size, 10, 64)
	if err != nil {
		return nil, err
	}
	volume := &longhorn.Volume{
		ObjectMeta: meta.ObjectMeta{Name: wanted.Name, Labels: map[string]string{labelOfVolume: wanted.Name}},
		Spec: longhorn.VolumeSpec{
			Size:                        size,
			NumberOfReplicas:            int(wanted.NumberOfReplicas),
			StaleReplicaTimeout:         int(wanted.StaleReplicaTimeout),
			Frontend:                    longhorn.VolumeFrontendBlockDev,
			AccessMode:                  longhorn.AccessMode(wanted.AccessMode),
			Migratable:                  wanted.Migratable,
			Encrypted:                   wanted.Encrypted,
			FromBackup:                  wanted.FromBackup,
			BackingImage:                wanted.BackingImage,
			BackupTargetName:            "default",
			DataEngine:                  longhorn.DataEngineType(wanted.DataEngine),
			BackupBlockSize:             2 << 20,
			BackupCompressionMethod:     "lz4",
			DataLocality:                longhorn.DataLocality(or(wanted.DataLocality, "disabled")),
			DiskSelector:                wanted.DiskSelector,
			NodeSelector:                wanted.NodeSelector,
			RevisionCounterDisabled:     wanted.RevisionCounterDisabled,
			FreezeFilesystemForSnapshot: longhorn.FreezeFilesystemForSnapshot(or(wanted.FreezeFilesystemForSnapshot, ignored)),
			OfflineRebuilding:           ignored,
			ReplicaAutoBalance:          longhorn.ReplicaAutoBalance(or(wanted.ReplicaAutoBalance, ignored)),
			ReplicaDiskSoftAntiAffinity: longhorn.ReplicaDiskSoftAntiAffinity(or(wanted.ReplicaDiskSoftAntiAffinity, ignored)),
			ReplicaSoftAntiAffinity:     longhorn.ReplicaSoftAntiAffinity(or(wanted.ReplicaSoftAntiAffinity, ignored)),
			ReplicaZoneSoftAntiAffinity: longhorn.ReplicaZoneSoftAntiAffinity(or(wanted.ReplicaZoneSoftAntiAffinity, ignored)),
			RestoreVolumeRecurringJob:   ignored,
			SnapshotDataIntegrity:       ignored,
			UnmapMarkSnapChainRemoved:   longhorn.UnmapMarkSnapChainRemoved(or(wanted.UnmapMarkSnapChainRemoved, ignored)),
		},
	}
	if wanted.FromBackup != "" {
		if err := v.fromBackup(&volume.Spec); err != nil {
			return nil, err
		}
	}
	ctx := context.Background()
	made, err := v.resources.Volumes(longhornNamespace).Create(ctx, volume, meta.CreateOptions{})
	if err != nil {
		return nil, err
	}
	return v.ById(made.Name)
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

func (v volumes) fromBackup(volume *longhorn.VolumeSpec) error {
	ctx := context.Background()
	backups, err := v.resources.Backups(longhornNamespace).List(ctx, meta.ListOptions{})
	if err != nil {
		return err
	}
	for _, each := range backups.Items {
		if each.Status.URL != volume.FromBackup {
			continue
		}
		volume.BackupTargetName = each.Status.BackupTargetName
		if size, err := strconv.ParseInt(each.Status.VolumeSize, 10, 64); err == nil {
			volume.Size = size
		}
		if volume.BackingImage == "" {
			volume.BackingImage = each.Status.VolumeBackingImageName
		}
		return v.checkImage(volume.BackingImage)
	}
	return fmt.Errorf("cannot get the backup of %s", volume.FromBackup)
}

func (v volumes) checkImage(name string) error {
	if name == "" {
		return nil
	}
	ctx := context.Background()
	if _, err := v.resources.BackingImages(longhornNamespace).Get(ctx, name, meta.GetOptions{}); err != nil {
		return fmt.Errorf("failed to get backing image %s: %w", name, err)
	}
	return nil
}

func (v volumes) Delete(volume *api.Volume) error {
	return v.resources.Volumes(longhornNamespace).Delete(context.Background(), volume.Name, meta.DeleteOptions{})
}

func (v volumes) ActionSnapshotCRList(volume *api.Volume) (*api.SnapshotCRListOutput, error) {
	ctx, selector := context.Background(), labelOfVolume+"="+volume.Name
	all, err := v.resources.Snapshots(longhornNamespace).List(ctx, meta.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	found := &api.SnapshotCRListOutput{}
	for i := range all.Items {
		found.Data = append(found.Data, *answerSnapshot(&all.Items[i]))
	}
	return found, nil
}

func (v volumes) ActionSnapshotCRCreate(volume *api.Volume, in *api.SnapshotCRInput) (*api.SnapshotCR, error) {
	snapshot := &longhorn.Snapshot{
		ObjectMeta: meta.ObjectMeta{Name: in.Name, Labels: map[string]string{labelOfVolume: volume.Name}},
		Spec:       longhorn.SnapshotSpec{Volume: volume.Name, CreateSnapshot: true, Labels: in.Labels},
	}
	ctx := context.Background()
	made, err := v.resources.Snapshots(longhornNamespace).Create(ctx, snapshot, meta.CreateOptions{})
	if err != nil {
		return nil, err
	}
	return answerSnapshot(made), nil
}

func (v volumes) ActionSnapshotCRGet(_ *api.Volume, in *api.SnapshotCRInput) (*api.SnapshotCR, error) {
	found, err := v.resources.Snapshots(longhornNamespace).Get(context.Background(), in.Name, meta.GetOptions{})
	if err != nil {
		return nil, err
	}
	return answerSnapshot(found), nil
}

func (v volumes) ActionSnapshotCRDelete(_ *api.Volume, in *api.SnapshotCRInput) (*api.Empty, error) {
	ctx := context.Background()
	err := v.resources.Snapshots(longhornNamespace).Delete(ctx, in.Name, meta.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		err = nil
	}
	return &api.Empty{}, err
}

func (v volumes) ActionSnapshotBackup(volume *api.Volume, in *api.SnapshotInput) (*api.Volume, error) {
	backup := &longhorn.Backup{
		ObjectMeta: meta.ObjectMeta{
			Name:   backupName(volume.Name, in.Name),
			Labels: map[string]string{labelOfBackupVolume: volume.Name},
			// As Longhorn's webhook adds it: the data in the bucket goes first.
			Finalizers: []string{finalizer},
		},
		Spec: longhorn.BackupSpec{
			SnapshotName: in.Name, Labels: in.Labels, BackupMode: longhorn.BackupMode(in.BackupMode),
			BackupBlockSize: 2 << 20,
		},
	}
	ctx := context.Background()
	_, err := v.resources.Backups(longhornNamespace).Create(ctx, backup, meta.CreateOptions{})
	return volume, err
}

// backupName has the form of Longhorn's names, which are random.
func backupName(volume, snapshot string) string {
	digest := sha256.Sum256([]byte(volume + "/" + snapshot))
	return "backup-" + hex.EncodeToString(digest[:8])
}

func answerSnapshot(one *longhorn.Snapshot) *api.SnapshotCR {
	return &api.SnapshotCR{
		Name: one.Name, Volume: one.Spec.Volume, ReadyToUse: one.Status.ReadyToUse, Error: one.Status.Error,
		CreationTime: one.Status.CreationTime, RestoreSize: one.Status.RestoreSize,
	}
}

// backupVolumes is the manager's API of backups, which answers from what has been synced from backup targets.
type backupVolumes struct {
	api.BackupVolumeOperations
	resources typed.LonghornV1beta2Interface
}

func (b backupVolumes) List(*api.ListOpts) (*api.BackupVolumeCollection, error) {
	all, err := b.resources.BackupVolumes(longhornNamespace).List(context.Background(), meta.ListOptions{})
	if err != nil {
		return nil, err
	}
	found := &api.BackupVolumeCollection{}
	for _, each := range all.Items {
		found.Data = append(found.Data, api.BackupVolume{
			Resource: api.Resource{Id: each.Name}, Name: each.Name, VolumeName: each.Spec.VolumeName,
			BackupTargetName: each.Spec.BackupTargetName, Size: each.Status.Size,
		})
	}
	return found, nil
}

func (b backupVolumes) ById(id string) (*api.BackupVolume, error) {
	return &api.BackupVolume{Name: id, VolumeName: id}, nil
}

func (b backupVolumes) ActionBackupGet(_ *api.BackupVolume, in *api.BackupInput) (*api.Backup, error) {
	found, err := b.resources.Backups(longhornNamespace).Get(context.Background(), in.Name, meta.GetOptions{})
	if err != nil {
		return nil, err
	}
	return answerBackup(found), nil
}

func (b backupVolumes) ActionBackupListByVolume(
	_ *api.BackupVolume, volume *api.Volume,
) (*api.BackupListOutput, error) {
	ctx, selector := context.Background(), labelOfBackupVolume+"="+volume.Name
	all, err := b.resources.Backups(longhornNamespace).List(ctx, meta.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	found := &api.BackupListOutput{}
	for i := range all.Items {
		found.Data = append(found.Data, *answerBackup(&all.Items[i]))
	}
	return found, nil
}

func (b backupVolumes) ActionBackupDelete(
	volume *api.BackupVolume, in *api.BackupInput,
) (*api.BackupVolume, error) {
	ctx := context.Background()
	return volume, b.resources.Backups(longhornNamespace).Delete(ctx, in.Name, meta.DeleteOptions{})
}

func answerBackup(one *longhorn.Backup) *api.Backup {
	return &api.Backup{
		Resource: api.Resource{Id: one.Name}, Name: one.Name, VolumeName: one.Status.VolumeName,
		VolumeSize: one.Status.VolumeSize, SnapshotName: one.Status.SnapshotName,
		SnapshotCreated: one.Status.SnapshotCreatedAt, State: string(one.Status.State), Url: one.Status.URL,
		BackupTargetName: one.Status.BackupTargetName, Error: one.Status.Error,
	}
}

type backupTargets struct {
	api.BackupTargetOperations
	resources typed.LonghornV1beta2Interface
}

func (b backupTargets) ById(id string) (*api.BackupTarget, error) {
	found, err := b.resources.BackupTargets(longhornNamespace).Get(context.Background(), id, meta.GetOptions{})
	if err != nil {
		return nil, err
	}
	return &api.BackupTarget{
		Resource: api.Resource{Id: id}, Name: id, Available: found.Status.Available,
		BackupTargetURL: found.Spec.BackupTargetURL,
	}, nil
}

type backingImages struct {
	api.BackingImageOperations
	resources typed.LonghornV1beta2Interface
}

func (b backingImages) ById(id string) (*api.BackingImage, error) {
	found, err := b.resources.BackingImages(longhornNamespace).Get(context.Background(), id, meta.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &api.BackingImage{
		Resource: api.Resource{Id: id}, Name: id, SourceType: string(found.Spec.SourceType),
		Parameters: found.Spec.SourceParameters, ExpectedChecksum: found.Spec.Checksum,
		CurrentChecksum: found.Status.Checksum,
	}, nil
}
