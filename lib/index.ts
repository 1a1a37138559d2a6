/**
 * The middleware, its hooks and events, the stores for files and memory, and the contract of stores.
 *
 * @module express-bits-upload
 */

export { acceptBitsPost, type Http1Server } from './http/bits-post/accept.ts'
export type { Lock, Locker, LockRequest } from './locks/locker.ts'
export { type BitsUpload, bitsUpload } from './middleware/bits-upload.ts'
export { mount } from './middleware/mount.ts'
export type { BitsUploadOptions } from './middleware/options.ts'
export { type NotificationOptions, notifyApplication } from './notification/notify.ts'
export type { ContentRange } from './protocol/content-range.ts'
export { BitsError, type BitsErrorCode, type BitsErrorDetails } from './protocol/errors.ts'
export type {
  CancelSessionPacket,
  CloseSessionPacket,
  CreateSessionPacket,
  FragmentPacket,
  Packet,
  PacketType,
  PingPacket,
  ReplyRequest,
} from './protocol/packet.ts'
export type { BitsUploadEvents, InterruptionReport, PacketReport, UploadReport } from './sessions/events.ts'
export type {
  CompleteUpload,
  CreateDecision,
  Hooks,
  NewUpload,
  Reply,
  UploadDecision,
} from './sessions/hooks.ts'
export type { SweepResult } from './sessions/sweep.ts'
export type { FileStatus, FileSystem } from './stores/file/file-system.ts'
export { type Durability, type FileStoreOptions, fileStore } from './stores/file/index.ts'
export { type MemoryStore, type MemoryStoreOptions, memoryStore } from './stores/memory.ts'
export type {
  AppendOptions,
  Body,
  CreateOptions,
  Decision,
  DecisionLease,
  DecisionOptions,
  ListOptions,
  NewSession,
  Session,
  SessionPaths,
  SessionState,
  Store,
  StoredReply,
  StoreOptions,
} from './stores/store.ts'
export type { Size } from './validate.ts'
