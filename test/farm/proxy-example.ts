/** The files of `examples/proxies`, and how to run them: only ports and paths are replaced. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { folder } from '../examples/start.ts'
import type { RunningProxy } from '../support/proxy.ts'

/** Edits a configuration. */
export type ConfigChange = (config: string) => string

export const unchanged: ConfigChange = (config) => config

/** Paths of PEM files. */
export interface Certificate {
  readonly certificate: string
  readonly key: string
  /** Certificate and key in one file. */
  readonly both: string
}

export interface StartOptions {
  /** Edits the file before ports and paths are replaced. */
  readonly change?: ConfigChange
  /** Runs the lines for TLS that are comments in the file. */
  readonly tls?: Certificate
}

/** A proxy with its file in `examples/proxies`. */
export interface ProxyExample {
  readonly name: string
  /** Defines a suite that needs the proxy. */
  readonly describe: (title: string, suite: () => void) => void
  /** The Content-Length of packets without a body that it passes on. */
  readonly contentLength: '0' | undefined
  /** How it writes the name of BITS-Packet-Type. */
  readonly fieldName: string
  /** Starts the proxy in front of a server: `host:port`. */
  readonly start: (server: string, options?: StartOptions) => Promise<RunningProxy>
  /** Adds a server behind the first one. */
  readonly addServer: (config: string, server: string) => string
}

/** A file of `examples/proxies`. */
export const exampleConfig = (name: string): string => readFileSync(join(folder, 'proxies', name), 'utf8')

/** Replaces strings, each of which must occur exactly once. */
export function replace(text: string, replacements: Readonly<Record<string, string>>): string {
  return Object.entries(replacements).reduce((before, [search, replacement]) => {
    const [start, end, ...more] = before.split(search)
    if (end === undefined || more.length > 0)
      throw new Error(`'${search}' must occur exactly once in:\n${before}`)
    return `${start}${replacement}${end}`
  }, text)
}
