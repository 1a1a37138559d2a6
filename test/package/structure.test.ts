/** Checks of lib/ as a whole: layers, cycles, unique names, file sizes, and the words of its comments. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../../lib', import.meta.url))

/** The sources of lib/, by path below it. */
const sources = new Map(
  readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => [path.split(sep).join('/'), readFileSync(join(root, path), 'utf8')]),
)

/** The folders and root files that each folder may import, besides itself: those below it. */
const layers: Readonly<Record<string, readonly string[]>> = {
  'builtins.ts': [],
  'validate.ts': [],
  protocol: ['validate.ts'],
  locks: ['protocol'],
  stores: ['locks', 'protocol', 'validate.ts'],
  sessions: ['locks', 'protocol', 'stores', 'validate.ts'],
  http: ['builtins.ts', 'protocol'],
  reply: ['stores'],
  notification: ['builtins.ts', 'protocol', 'sessions', 'stores', 'validate.ts'],
  middleware: ['http', 'protocol', 'reply', 'sessions', 'stores', 'validate.ts'],
  client: ['builtins.ts', 'locks', 'protocol', 'validate.ts'],
  testing: ['locks', 'protocol', 'stores', 'validate.ts'],
  'index.ts': [
    'http',
    'locks',
    'middleware',
    'notification',
    'protocol',
    'sessions',
    'stores',
    'validate.ts',
  ],
  cli: ['builtins.ts', 'client', 'http', 'index.ts', 'protocol', 'stores', 'validate.ts'],
}

/** The same, within the folders that have layers of their own. */
const innerLayers: Readonly<Record<string, readonly string[]>> = {
  'stores/file': [''],
  'stores/object': ['', 'stores/object/lock', 'stores/object/service'],
  'stores/object/lock': ['stores/object/service'],
  'stores/object/service': [],
  'stores/object/service/azure': ['stores/object/service'],
  'stores/object/service/s3': ['stores/object/service'],
  'http/bits-post': ['http/node-tuning'],
  'http/node-tuning': ['http'],
}

/** The imports of a file, as paths below lib/. */
const importsOf = (path: string): string[] =>
  [...(sources.get(path) ?? '').matchAll(/(?:from|import|import\() ?'(\.[^']+)'/g)].map(([, target = '']) =>
    posix.join(posix.dirname(path), target),
  )

const layerOf = (path: string): string => path.split('/')[0] as string

describe('lib', () => {
  it('imports only from lower layers', () => {
    const upward: string[] = []
    for (const path of sources.keys()) {
      for (const target of importsOf(path)) {
        const [from, to] = [layerOf(path), layerOf(target)]
        if (from !== to && !layers[from]?.includes(to)) upward.push(`${path} imports ${target}`)
      }
    }
    expect(upward).toEqual([])
  })

  it('imports only from lower layers within stores and http', () => {
    const upward: string[] = []
    for (const path of sources.keys()) {
      const allowed = innerLayers[posix.dirname(path)]
      if (!allowed) continue
      for (const target of importsOf(path)) {
        const folder = posix.dirname(target)
        if (layerOf(path) !== layerOf(target) || folder === posix.dirname(path)) continue
        const isParent = folder === layerOf(path) && allowed.includes('')
        const isEntry = /\/(azure|s3)\.ts$/.test(path) && /\/(azure|s3)$/.test(folder)
        const isInner = allowed.includes(folder)
        if (!isParent && !isEntry && !isInner) upward.push(`${path} imports ${target}`)
      }
    }
    expect(upward).toEqual([])
  })

  it('loads node:http, node:https and node:tls only by builtins.ts, which says why', () => {
    const imports = /^import (?!type )[^']*from 'node:(?:https?|tls)'/m
    const files = [...sources].filter(([, text]) => imports.test(text)).map(([path]) => path)
    expect(files).toEqual([])
  })

  it('has no import cycles', () => {
    const cycles: string[] = []
    const done = new Set<string>()
    const visit = (path: string, trail: readonly string[]): void => {
      if (trail.includes(path)) {
        cycles.push([...trail.slice(trail.indexOf(path)), path].join(' -> '))
        return
      }
      if (done.has(path)) return
      for (const target of importsOf(path)) visit(target, [...trail, path])
      done.add(path)
    }
    for (const path of sources.keys()) visit(path, [])
    expect(cycles).toEqual([])
  })

  it('defines each top-level name in one file', () => {
    const declaration =
      /^(?:export )?(?:abstract )?(?:async )?(?:function\*?|class|interface|type|const|let|enum) (\w+)/gm
    const filesByName = new Map<string, Set<string>>()
    for (const [path, text] of sources) {
      for (const [, name = ''] of text.matchAll(declaration)) {
        filesByName.set(name, (filesByName.get(name) ?? new Set()).add(path))
      }
    }
    const doubled = [...filesByName].filter(([, files]) => files.size > 1)
    expect(doubled.map(([name, files]) => `${name}: ${[...files].join(', ')}`)).toEqual([])
  })

  it('has no file above 300 lines', () => {
    const long = [...sources].filter(([, text]) => text.split('\n').length > 301)
    expect(long.map(([path]) => path)).toEqual([])
  })

  it('uses plain words in comments', () => {
    const unclear =
      /\b(nobody|somebody|anybody|tells?|told|whoever|anew|(?:is|are|was|were) to be|who (?:waits?|asks?))\b/gi
    let words = 0
    const found: string[] = []
    for (const [path, text] of sources) {
      const comments = [...text.matchAll(/\/\*[\s\S]*?\*\/|(?:^|\s)\/\/ .*$/gm)].map(([comment]) => comment)
      for (const comment of comments) {
        words += comment.match(/[\p{L}\d']+/gu)?.length ?? 0
        for (const [word] of comment.matchAll(unclear)) found.push(`${path}: ${word}`)
      }
    }
    expect(words).toBeGreaterThan(10_000)
    // 0.6 per 1,000 words.
    expect(found.slice(0, Math.max(0, found.length - Math.floor((0.6 * words) / 1000)))).toEqual([])
  })
})
