import type { AssignedHost } from './ack.ts'

/**
 * What a client knows of its session on the server, and all that another process needs to go on with it. It changes
 * while the upload advances; the job file is its copy.
 */
export interface ClientSession {
  readonly id: string
  /** Where its packets go, if not to the URL's own host. */
  hostId?: AssignedHost | undefined
  /** Milliseconds since 1970: since when that host fails; absent while it does not. */
  failingSince?: number | undefined
  /** Bytes that the server holds from 0 on, as it last said; it may correct that in either direction. */
  offset: number
  /** What is left to do. */
  stage: 'fragment' | 'reply' | 'close-session'
  /** As the server wrote it. */
  replyUrl?: string
  /** A Close-Session may have reached the server, and its Ack got lost. */
  closeSent?: boolean
}
