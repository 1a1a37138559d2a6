/**
 * Modules of Node that are not imported, because an import makes the start of a process slower. `process.getBuiltinModule`
 * returns the object that `require` returns, so that a tracer which has patched it sees the requests of this package.
 *
 * - An import of `node:http` reads all names that it exports, even those that are not imported. One is `WebSocket`: Node 22
 *   and later load undici for it, which takes 35 ms.
 * - `node:tls` takes 4 ms on Node 20 and 17 ms on Node 24, and most servers are reached through a proxy without TLS.
 */

export const http = process.getBuiltinModule('node:http')

export const https = (): typeof import('node:https') => process.getBuiltinModule('node:https')
export const tls = (): typeof import('node:tls') => process.getBuiltinModule('node:tls')
