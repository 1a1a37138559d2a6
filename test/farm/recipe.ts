import { blocks, section } from '../package/readme.ts'

const printed = blocks(section('Behind a proxy'), 'nginx').join('')

/** What the README's recipe says beside where to pass packets on to: its lines, without comments. */
export const directives: readonly string[] = [...printed.matchAll(/^ {2}(?!proxy_pass )([^;]+);/gm)].map(
  ([, directive = '']) => directive,
)

/** The recipe of the README, with the server that it is to pass packets on to. */
export function recipe(upstream: string): string {
  const [before, after, ...more] = printed.split('http://127.0.0.1:8080')
  if (after === undefined || more.length > 0) throw new Error('The recipe names one server')
  return `${before}${upstream}${after}`
}

/** A recipe without one of its lines, or with another in its place. */
export function without(text: string, directive: string, other = ''): string {
  const [before, after] = text.split(`  ${directive};`)
  if (after === undefined) throw new Error(`The recipe does not say '${directive}'`)
  return `${before}${other}${after}`
}

/** What nginx serves at a port of the loopback. */
export const serverAt = (port: number, locations: string): string => `
server {
  listen 127.0.0.1:${port};
  ${locations}
}
`
