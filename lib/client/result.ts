/** A reply that the server had for an upload. */
export interface UploadReply {
  readonly url: string
  readonly size: number
  /** Its bytes, unless the option `reply` said where they go. */
  readonly data?: Buffer
}

/** What became of an upload. */
export interface UploadResult {
  readonly url: string
  /** Bytes of the file. */
  readonly size: number
  readonly sessionId: string
  /** Fragments that this call sent and the server acknowledged. */
  readonly fragments: number
  /** Absent if the server had none, or it was not to be fetched. */
  readonly reply?: UploadReply
}
