import { blocks, readPage } from '../package/page.ts'

const { section } = readPage('README.md')

const readmeConfig = blocks(section('Behind a proxy'), 'nginx').join('')

/** The directives of the README's nginx configuration, except `proxy_pass`. */
export const directives: readonly string[] = [...readmeConfig.matchAll(/^ {2}(?!proxy_pass )([^;]+);/gm)].map(
  ([, directive = '']) => directive,
)

/** The README's nginx configuration for a server with this URL. */
export function configFor(upstream: string): string {
  const [before, after, ...more] = readmeConfig.split('http://127.0.0.1:8080')
  if (after === undefined || more.length > 0)
    throw new Error("The README's nginx configuration must name http://127.0.0.1:8080 exactly once")
  return `${before}${upstream}${after}`
}

/** Removes a directive from a configuration, or replaces it. */
export function replaceDirective(config: string, directive: string, replacement = ''): string {
  const [before, after] = config.split(`  ${directive};`)
  if (after === undefined) throw new Error(`The nginx configuration has no directive '${directive}'`)
  return `${before}${replacement}${after}`
}

/** A server block for a port of 127.0.0.1. */
export const serverBlock = (port: number, locations: string): string => `
server {
  listen 127.0.0.1:${port};
  ${locations}
}
`
