/**
 * Adds the properties that Express adds to requests and responses when they are created, so that they share
 * hidden classes. This package does the same for its packets (lib/http/node-tuning/hidden-classes.ts).
 * Without it Express would cost the receivers that serve as limits more than it costs this package.
 */
import { subscribe } from 'node:diagnostics_channel'

/** A property of Express' router, known after the first response. @type {symbol | undefined} */
let matchedRoute

export function shareHiddenClasses() {
  subscribe('http.server.request.start', (message) => {
    const { request, response } = /** @type {{ request: any, response: any }} */ (message)
    request.res = undefined
    request.next = undefined
    request.baseUrl = undefined
    request.originalUrl = undefined
    request._parsedUrl = undefined
    request.params = undefined
    if (matchedRoute !== undefined) request[matchedRoute] = undefined
    const { _eventsCount } = request
    request._eventsCount = _eventsCount
    response.locals = undefined
    const { statusCode, statusMessage } = response
    response.statusCode = statusCode
    response.statusMessage = statusMessage
  })
  subscribe('http.server.response.finish', (message) => {
    const { request } = /** @type {{ request: object }} */ (message)
    matchedRoute ??= Object.getOwnPropertySymbols(request).find(
      ({ description }) => description === 'router.tracing.matchedRoute',
    )
  })
}
