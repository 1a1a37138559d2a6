/**
 * Limits that are made by hand are none if Express costs them more than it costs this package: here their requests and responses
 * get the properties beforehand that Express adds, so that they share their hidden classes as packets do (lib/http/node-tuning/hidden-classes.ts).
 */
import { subscribe } from 'node:diagnostics_channel'

/** Of Express' router; known once it was seen. @type {symbol | undefined} */
let matchedRoute

export function shareShapes() {
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
