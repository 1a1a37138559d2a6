import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { MountedRequest } from '../http/request.ts'

type Handler = (request: IncomingMessage, response: ServerResponse, next: () => void) => void

/** What `app.use(path, handler)` does, for one handler; everything else is not found. */
export function mount(path: string, handler: Handler): RequestListener {
  const prefix = path === '/' ? '' : path
  return (request: MountedRequest, response) => {
    const notFound = (): void => {
      response.writeHead(404, { 'Content-Type': 'text/plain' }).end('Only BITS uploads are taken here.\n')
    }
    const { url = '/' } = request
    const rest = url.slice(prefix.length)
    if (!url.startsWith(prefix) || !/^[/?]/.test(rest)) return notFound()
    Object.assign(request, { originalUrl: url, url: rest.startsWith('/') ? rest : `/${rest}` })
    handler(request, response, notFound)
  }
}
