import type { IncomingMessage, ServerResponse } from 'node:http'
import type { MountedRequest } from '../http/request.ts'
import { quoteText } from '../validate.ts'

/**
 * Calls a handler, usually the middleware of `bitsUpload()`, below a mount path: for plain `node:http` and frameworks whose
 * routers do not remove the mount path from `request.url`. Express and Connect do this themselves, in `app.use(path, handler)`.
 *
 * For a request at or below `path` the handler gets `request.url` without it, and with the query: `/a.bin?b` for
 * `/upload/a.bin?b`, and `/` for `/upload`. `request.originalUrl` is set to the complete URL unless it is set already. If the
 * handler calls `next()`, `request.url` is restored before. All other requests are passed to `next()` unchanged.
 *
 * As in Express, letters of either case match, and only whole segments: `/uploads` is not below `/upload`. A request target in
 * absolute form (`http://host/upload/a.bin`) keeps its origin.
 *
 * The result is a request listener, too. Without `next`, requests that are not handled are answered 404, and an error that the
 * handler passes to `next(error)` is answered 500 and printed to the console.
 *
 * @param path the mount path, for example `/upload`, compared literally: percent-encoded, without parameters and wildcards. A
 * slash at its end makes no difference
 * @throws {TypeError} if `path` is not such a path, or `handler` not a function; the message says what to write
 */
export function mount<Caller extends IncomingMessage = IncomingMessage>(
  path: string,
  handler: (request: Caller, response: ServerResponse, next: (error?: unknown) => void) => void,
): (request: Caller, response: ServerResponse, next?: (error?: unknown) => void) => void {
  const prefix = prefixOf(path)
  if (typeof handler !== 'function')
    throw new TypeError(
      "mount: the second argument must be a handler, for example bitsUpload({ store: './incoming' })",
    )
  return (request, response, next = (error) => answerUnhandled(response, error)) => {
    const { url = '' } = request
    const relative = relativeUrl(url, prefix)
    if (relative === undefined) return next()
    const mounted: { originalUrl?: string } & MountedRequest = request
    mounted.originalUrl ??= url
    request.url = relative
    handler(request, response, (error) => {
      request.url = url
      next(error)
    })
  }
}

/** Returns the mount path in lower case, without a slash at its end. */
function prefixOf(path: unknown): string {
  if (typeof path === 'string' && /^\/[!-~]*$/.test(path) && !/[?#:*(){}[\]\\]/.test(path))
    return path.replace(/\/$/, '').toLowerCase()
  throw new TypeError(
    `mount: the path must be a URL path such as '/upload', not ${quoteText(path)}; it is compared literally: ` +
      'percent-encoded, without parameters, wildcards and query',
  )
}

/** Removes a mount path from a request target; undefined if the target is not at or below it. */
function relativeUrl(url: string, prefix: string): string | undefined {
  const [origin = ''] = /^https?:\/\/[^/?#]*/i.exec(url) ?? []
  const path = url.slice(origin.length)
  const rest = path.slice(prefix.length)
  if (path.slice(0, prefix.length).toLowerCase() !== prefix || !/^(?:[/?#]|$)/.test(rest)) return undefined
  return `${origin}${rest.startsWith('/') ? '' : '/'}${rest}`
}

/** Answers a request for which there is no further handler. */
function answerUnhandled(response: ServerResponse, error: unknown): void {
  if (error) console.error(error)
  if (response.headersSent) {
    response.destroy()
    return
  }
  response
    .writeHead(error ? 500 : 404, { 'Content-Type': 'text/plain' })
    .end(error ? 'Internal server error\n' : 'Not found\n')
}
