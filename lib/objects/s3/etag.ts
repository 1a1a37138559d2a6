/** The version of what was found: its ETag without the quotes that some services give it in some answers only. */
export const versionOf = ({ ETag = '' }: { readonly ETag?: string | undefined }): string =>
  ETag.replace(/^"(.*)"$/, '$1')

/** How a service wants a version written in a condition. */
export type EtagForm = (version: string) => string

/** As HTTP has it (RFC 9110, 8.8.3). */
export const quoted: EtagForm = (version) => `"${version}"`

/** As Ceph has it, up to release 16 at least: it takes the quotes for a part of the ETag. */
export const bare: EtagForm = (version) => version
