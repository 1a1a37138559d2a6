/** A service that all tests of a run share. */
export interface Service {
  /** What its clients have to know: plain data, so that it gets into other processes. */
  readonly access: unknown
  /** Ends it; nothing of it is left. */
  end(): Promise<void>
}
