/** `Promise.withResolvers`, which Node 20 does not have. */
export function withResolvers<T>() {
  let resolve!: (value: T) => void
  let reject!: (reason: unknown) => void
  const promise = new Promise<T>((...handles) => {
    ;[resolve, reject] = handles
  })
  return { promise, resolve, reject }
}
